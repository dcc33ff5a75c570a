"""What there is: the index of datasets and sidecars, and which of its samples take part."""
