"""Initial values of a model that has none yet, the same numbers whatever the number of its shards.

- A model is built on `meta`, sharded, given memory, and initialised where it lies: no process ever holds the whole.
- Its `initialise()` runs as it is. Each random fill of it draws from a generator of its own, keyed by (seed, number of
  the fill), one tensor at a time on the CPU; a shard takes its part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dit_video.parallel.local import is_shard, put
from dit_video.parallel.tags import tag, tags
from dit_video.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable


COPY = torch.ops.aten.copy_.default
RANDOM = {torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default}


class Initialised(Protocol):
    """A module that can set all its parameters and buffers, in place, from nothing."""

    def to_empty(self, *, device: torch.device) -> Any:
        """Memory on a device."""
        ...

    def initialise(self) -> None:
        """Values for all of it."""
        ...


class Keyed(TorchDispatchMode):
    """Random fills under it are a function of (seed, their number), and of nothing that is random elsewhere."""

    def __init__(self, seed: int, purpose: str) -> None:
        super().__init__()
        self.seed, self.purpose, self.count = seed, purpose, 0

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is COPY and is_shard(args[0]) and not is_shard(args[1]):
            put(args[0], args[1])
            return args[0]
        if func not in RANDOM or kwargs.get("generator") is not None or args[0].is_meta:
            return func(*args, **kwargs)
        source = generator(self.seed, self.purpose, self.count)
        self.count += 1
        whole = func(
            torch.empty(args[0].shape, dtype=torch.float32, device="cpu"), *args[1:], **{**kwargs, "generator": source}
        )
        put(args[0], whole)
        return args[0]


def materialise(model: Initialised, *, device: torch.device, seed: int, purpose: str) -> None:
    """Memory on `device` and initial values for a model on `meta`, sharded or not; in place."""
    kept = tags(model)  # type: ignore[arg-type]
    model.to_empty(device=device)
    tag(model, kept)  # type: ignore[arg-type]
    with Keyed(seed, purpose):
        model.initialise()
