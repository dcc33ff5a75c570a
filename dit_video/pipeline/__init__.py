"""What is done with trained models: loading them, captioning clips, generating videos."""
