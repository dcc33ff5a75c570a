"""How good a model is, in figures and on a page; so far, how well autoencoders give back what they are given."""
