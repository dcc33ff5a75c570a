"""Flow matching: the path between data and noise, and the levels at which it is trained."""
