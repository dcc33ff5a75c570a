"""Text encoders and the tokenizer: from captions to context."""
