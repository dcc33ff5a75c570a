"""How parameters change: optimizers, their schedules in samples, and the average of the weights.

Parameters say what they are where they are born, by attributes, so that no optimizer matches names:

- `p.no_decay = True`: no weight decay (vectors and scalars never have any).
- `p.matrix = False`: two axes or more, but not a linear map between hidden states (embeddings, the first and last
  layer): Muon leaves it to AdamW.
- `p.rate = 0.1`: a tenth of the run's learning rate (what starts from a good place).
- `p.parts = 3`: that many matrices stacked along the first axis (a fused qkv): Muon treats each for itself.
"""
