"""`make soak`: the matrix of faults with real processes; a section a file, each with figures of its own.

- A training is killed, stopped, resized and starved, and held against the one that was left alone, bit for bit.
- Sections run alone as well: `python -m benchmarks.soak sections="kills goodput"`; each merges its figures into
  benchmarks/results/soak.json, and docs/faults.md is written from that.
"""
