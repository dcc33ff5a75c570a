"""How many devices and machines the trainer is told of, where torchrun or srun has started the ranks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dit_video.launch.shared import ATTEMPT
from dit_video.launch.world import devices


def found(trainer: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Devices and machines as the environment has them, where the settings `trainer.*` do not say so."""
    size, local = (int(environment.get(name, "0")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if not size and ATTEMPT in environment:  # a job that goes on with one rank
        return {"num_nodes": 1}
    given, accelerator = trainer.get("devices") or "auto", str(trainer.get("accelerator"))
    asked = devices(given, accelerator=accelerator) if size and local else 0
    if not asked or (asked == local and asked * int(trainer.get("num_nodes") or 1) == size):
        return {}
    return {"devices": local, "num_nodes": size // local}
