"""From members of shards to batches: decoders that may fail, workers that may end, bad samples that are counted."""
