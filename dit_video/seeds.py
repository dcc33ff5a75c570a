"""Seeds are functions: (seed, purpose, ids) names a random stream, whatever process or worker asks for it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch


def seed_for(seed: int, purpose: str, *ids: int | str) -> int:
    """A 63-bit seed that depends on every argument and on nothing else."""
    text = "/".join([str(seed), purpose, *map(str, ids)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: str, *ids: int | str) -> torch.Generator:
    """A CPU torch generator keyed by (seed, purpose, ids). Draw on the CPU, then move: the same on any device."""
    import torch

    return torch.Generator().manual_seed(seed_for(seed, purpose, *ids))


def rng(seed: int, purpose: str, *ids: int | str) -> numpy.random.Generator:
    """A numpy generator (PCG64) keyed by (seed, purpose, ids)."""
    import numpy

    return numpy.random.Generator(numpy.random.PCG64(seed_for(seed, purpose, *ids)))
