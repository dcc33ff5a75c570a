"""Networks as plain modules; every folder has the same grammar: embed, block, the model, init."""
