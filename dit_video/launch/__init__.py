"""Starts the ranks of this machine, watches them from outside, and starts them again: `python train.py` is its parent.

- The parent has checked the settings and imports no torch: a rank that holds the GIL, stops or dies cannot touch it.
- A rank beats twice a second (`heartbeat`), and writes down what it fails of (`report`).
- The parent names the rank that failed first and why (`cause`, `watch`, `stacks`), ends the others, and starts all of
  them again from the newest checkpoint (`supervise`), as long as that leads anywhere.

Why not torch's own engine (`torch.distributed.run`, read at 2.13): its restarts are counted over a whole run, so that a
bug at a fixed step is looped on and a month of rare faults is not survived; after SIGTERM it waits 30 seconds for a
save, then kills; whatever a rank's exit code, its own is 1 (2, 75 and 130 mean something here); it knows no hang but a
timer that the training code must set; and its parent imports torch, for 2 seconds and 220 MB. `torchrun train.py` works
nevertheless: there a rank is watched alone (on GPUs, or with `run.restarts` above 0) and restarted by torchrun. So is
each task of srun (`task`), always; in a job the tasks' parents tell one another what happens (`shared`), and
`dit_video.slurm.settle` decides what follows.

Exit codes: 0 done, 2 a user's mistake, 75 stopped by a signal and saved, 76 a node that is not fit, 130 ctrl-C;
128 + signal or 1 after a crash.
"""

from dit_video.launch.heartbeat import WATCH, begin, mark, within
from dit_video.launch.job import Job, job
from dit_video.launch.machines import found
from dit_video.launch.report import reporting
from dit_video.launch.shared import alarming
from dit_video.launch.supervise import supervise
from dit_video.launch.world import World, asked, devices

__all__ = [
    "WATCH",
    "Job",
    "World",
    "alarming",
    "asked",
    "begin",
    "devices",
    "found",
    "job",
    "mark",
    "reporting",
    "supervise",
    "within",
]
