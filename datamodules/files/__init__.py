"""Files of a dataset, near or far: whole or in parts, many at once, each checked; a cache, and slow reads told."""
