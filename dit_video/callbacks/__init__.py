"""What happens around a training step, one concern a file, named for what it protects.

They read the batch's `Place`: a step ends with its last micro-batch, and everything is counted in samples seen.
"""
