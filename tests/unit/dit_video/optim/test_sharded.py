"""Optimizers, clipping and averages on parameters sharded by FSDP2, against the same on whole ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dit_video.optim.adamw import AdamW
from dit_video.optim.clip import clip
from dit_video.optim.ema import Ema
from dit_video.optim.muon import Muon
from dit_video.parallel.tags import tag, tags

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

CLOSE = {torch.float32: 1e-6, torch.float64: 1e-12}
PLANS = [(2,), (4,), (2, 2)]


class Net(nn.Module):
    """Parameters whose rows divide by 2 and 4 ranks, do not, or are fewer; stacks whose borders lie within a shard."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(7, 15)
        self.qkv.weight.parts = 3
        self.up = nn.Linear(6, 20, bias=False)
        self.up.weight.parts = 2
        self.out = nn.Linear(15, 8)
        self.out.weight.rate = 0.1
        self.again = nn.Linear(15, 8)
        self.conv = nn.Conv2d(3, 5, 2)
        self.one = nn.Linear(6, 1)
        self.ends = nn.Linear(4, 6)
        self.ends.weight.matrix = False
        self.gain = nn.Parameter(torch.ones(3, 1))
        self.gain.no_decay = True


def nets(sizes: tuple[int, ...], dtype: torch.dtype) -> tuple[Net, Net]:
    """Equal nets, one whole and one sharded over the last axis of a mesh of `sizes`."""
    torch.manual_seed(0)
    whole, split = Net().to(dtype), Net().to(dtype)
    split.load_state_dict(whole.state_dict())
    tag(split, tags(Net()))
    tag(whole, tags(Net()))
    kept = tags(split)
    mesh = init_device_mesh("cpu", sizes, mesh_dim_names=("replicate", "parameters")[-len(sizes) :])
    for module in split.children():
        fully_shard(module, mesh=mesh)
    fully_shard(split, mesh=mesh)
    tag(split, kept)
    assert all(isinstance(p, DTensor) for p in split.parameters())
    return whole, split


def gradients(model: nn.Module, *, seed: int) -> None:
    """Give each parameter the same gradient, whole or sharded."""
    for number, parameter in enumerate(model.parameters()):
        made = torch.Generator().manual_seed(100 * seed + number)
        gradient = torch.randn(parameter.shape, generator=made, dtype=parameter.dtype)
        if isinstance(parameter, DTensor):
            gradient = distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
        parameter.grad = gradient


def full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def same(rank: int, sizes: tuple[int, ...], dtype: torch.dtype, make: Callable[..., Any]) -> None:
    """Four steps of an optimizer give the same weights and the same state."""
    whole, split = nets(sizes, dtype)
    pair = [make(model.named_parameters()) for model in (whole, split)]
    for p in split.parameters():
        for name, value in pair[1].state[p].items():
            assert name == "step" or (isinstance(value, DTensor) and value.placements == p.placements)
    for seed in range(4):
        for model, optimizer in zip((whole, split), pair, strict=True):
            gradients(model, seed=seed)
            optimizer.step()
    close = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
    for (name, p), q in zip(whole.named_parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(full(q), p, **close, msg=lambda text, name=name: f"{name}: {text}")
        for key, value in pair[0].state[p].items():
            torch.testing.assert_close(full(pair[1].state[q][key]), value, **close)


@pytest.mark.parametrize("sizes", PLANS)
@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_an_optimizer_does_the_same(kind: Any, sizes: tuple[int, ...]) -> None:
    make = partial(kind, lr=0.02, weight_decay=0.1, clip=0.5)
    run_ranks(several, max(sizes) * len(sizes), sizes, make)


def several(rank: int, sizes: tuple[int, ...], make: Callable[..., Any]) -> None:
    for dtype in CLOSE:
        same(rank, sizes, dtype, make)


class Calls(TorchDispatchMode):
    """The names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def clipped(rank: int, sizes: tuple[int, ...]) -> None:
    whole, split = nets(sizes, torch.float64)
    split.plain, whole.plain = (nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    for limit in (1e9, 0.5):
        for model in (whole, split):
            gradients(model, seed=1)
        with Calls() as calls:
            norm = clip(split.parameters(), limit=limit)
        assert not any("_local_scalar_dense" in name or "is_nonzero" in name for name in calls.names), (
            "waits for values"
        )
        assert sum(name.startswith("c10d::") for name in calls.names) == 1
        torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(whole.parameters(), limit), rtol=1e-14, atol=0)
        for p, q in zip(whole.parameters(), split.parameters(), strict=True):
            torch.testing.assert_close(full(q.grad), p.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sizes", PLANS[1:])
def test_the_total_norm_is_that_of_whole_gradients(sizes: tuple[int, ...]) -> None:
    run_ranks(clipped, 4, sizes)


def averaged(rank: int, sizes: tuple[int, ...]) -> None:
    whole, split = nets(sizes, torch.float32)
    pair = [Ema(dict(model.named_parameters()), half_life=7) for model in (whole, split)]
    for seed in range(3):
        for model, ema in zip((whole, split), pair, strict=True):
            gradients(model, seed=seed)
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(p.grad)
            ema.update(samples=3, samples_seen=100)
    raw = {name: full(p.detach()).clone() for name, p in split.named_parameters()}
    assert all(torch.equal(full(pair[1].averages[name]), average) for name, average in pair[0].averages.items())
    assert all(pair[1].averages[name].placements == p.placements for name, p in split.named_parameters())
    with pair[1].swapped():
        assert all(torch.equal(full(p.detach()), pair[0].averages[name]) for name, p in split.named_parameters())
    assert all(torch.equal(full(p.detach()), raw[name]) for name, p in split.named_parameters())


def test_averages_are_the_same_bits() -> None:
    run_ranks(averaged, 4, (2, 2))
