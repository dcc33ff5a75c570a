"""Which runs there are, how they stand, and why: `python -m dit_video.runs`. It reads folders, and needs no torch.

- What a run has done stands in its folder: metrics.csv, checkpoints, restarts.jsonl, slurm/.
- Whether it lives is told by the lock of the folder, which the kernel releases with the process, over a network file
  system too; by `state.json`, which the first rank writes every few seconds (`sign`); and by SLURM, where it has jobs.
- A file that is half written or damaged costs a line, not the list.
"""
