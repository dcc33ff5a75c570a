"""SLURM: jobs are written as scripts that a person can read and run again, submitted, watched and settled.

- `settings` is what a site sets; `client` alone runs SLURM's commands; `script` fills slurm/*.sbatch; `submit` hands
  trainings and samplings over, `array` stages of preparing.
- In the job, `attempt` is the folder of one start, which ranks write and `settle` reads, to decide what follows.
- Nothing here imports torch, Lightning or Hydra: it runs at the shell, and beside ranks.
"""
