"""What the fork server has before it forks: imports, Hydra's grammar, compiled packing. Nothing starts a thread."""

import lightning.pytorch  # noqa: F401
import numpy as np
import pyarrow.parquet  # noqa: F401
import torch.distributed.checkpoint
import torch.distributed.fsdp
import torch.distributed.tensor
import torch.testing  # noqa: F401
from hydra import compose, initialize_config_dir

import dit_video.callbacks.checkpoint
import dit_video.callbacks.ema
import dit_video.callbacks.finite
import dit_video.callbacks.metrics
import dit_video.callbacks.preempt
import dit_video.callbacks.reseed
import dit_video.callbacks.schedule
import dit_video.callbacks.throughput
import dit_video.models.dit
import dit_video.optim.adamw
import dit_video.optim.muon
import dit_video.pipeline.recipe
import dit_video.tasks.dit  # noqa: F401
import fake.forked
import fake.record
import fake.task  # noqa: F401
import train
from datamodules.order.packs import fill

fill(np.full(4, 5), 10, 2)
with initialize_config_dir(str(train.CONF), version_base="1.3"):
    compose("train", ["experiment=quickstart/dit", "++run.name=a", "++datamodules.captions={dense: 0.5}"])
