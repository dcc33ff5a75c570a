"""From shards, near or far, to batches: reads that are checked, decoders that may fail, workers."""
