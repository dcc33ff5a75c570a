"""From raw videos to batches: preparing datasets on disk, and reading them in an order that is a pure function."""
