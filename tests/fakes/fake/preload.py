"""Imported once by the fork server; nothing of it may start a thread."""

import lightning.pytorch  # noqa: F401
import torch.distributed.checkpoint
import torch.distributed.fsdp
import torch.distributed.tensor
import torch.testing  # noqa: F401

import fake.forked  # noqa: F401
import train  # noqa: F401
from dit_video import checkpoint  # noqa: F401
from dit_video.callbacks import checkpoint as saver  # noqa: F401
from dit_video.callbacks import ema, finite, metrics, preempt, reseed, schedule, throughput, wandb  # noqa: F401
