"""Pure functions over tensors: attention over ragged sequences, rotary positions, patches."""
