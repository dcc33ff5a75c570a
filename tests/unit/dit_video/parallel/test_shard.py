"""A model spread over processes in any way is the model: same values at the start, same loss, same gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.testing import assert_close

from dit_video.batch import PackBatch, Place
from dit_video.models.dit import DiT
from dit_video.ops.layout import conditioned, join, padding
from dit_video.parallel.materialise import materialise, put
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.parallel.sequence import part_batch
from dit_video.parallel.shard import save_memory, shard
from dit_video.parallel.tags import tags
from dit_video.seeds import generator

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

TEXT, PACKS, LENGTH = 12, 4, 48


def hollow(*, depth: int = 2) -> DiT:
    """A tiny DiT of four heads, without values."""
    with torch.device("meta"):
        return DiT(channels=2, patch=2, width=32, depth=depth, heads=4, text_width=TEXT).double()


def enliven(dit: DiT) -> DiT:
    """Values for a DiT, sharded or not, random everywhere."""
    materialise(dit, device=torch.device("cpu"), seed=3, purpose="init")
    for number, parameter in enumerate(dit.parameters()):
        source = generator(0, "lively", number)
        put(parameter, torch.randn(parameter.shape, generator=source) * parameter.shape[-1] ** -0.5)
    return dit


def pack(number: int) -> PackBatch:
    """A pack of three clips and padding."""
    source = generator(0, "pack", number)

    def latent(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=source, dtype=torch.float64)

    clips = [
        conditioned(latent(1, 4, 4), tail=None, pattern="none", cut=0, patch=2),
        conditioned(latent(2, 4, 6), tail=None, pattern="first", cut=1, patch=2),
        conditioned(latent(3, 4, 4), tail=latent(2, 4, 4), pattern="suffix", cut=1, patch=2),
    ]
    spare = LENGTH - sum(len(clip.data) for clip in clips)
    data, weight, layout = join([*clips, padding(spare, 8)])
    names = ("",) * 4
    place = Place(step=0, samples_seen=12, micro=0, micros=1, packs=((0, number),), step_weight=100.0)
    tokens = torch.zeros(len(data), dtype=torch.int64)
    return PackBatch(
        data=data.double(),
        weight=weight.double(),
        pack=tokens,
        layout=layout,
        captions=names,
        keys=names,
        sources=names,
        place=place,
    )


def loss_of(dit: DiT, number: int, *, rank: int = 0, size: int = 1) -> Tensor:
    """The error of a part of a pack, weighted over all packs."""
    batch = part_batch(pack(number), rank=rank, size=size)
    context = torch.randn(4, 5, TEXT, generator=generator(1, "text", number), dtype=torch.float64)
    sigma = torch.linspace(0.1, 0.9, len(batch.layout.sample), dtype=torch.float64)
    error = (dit(batch.data, sigma, batch.layout, context) - batch.data.flip(1)).square().mean(1)
    return (error * batch.weight).sum() / batch.place.step_weight


def compare(rank: int, plan: Plan) -> tuple[float, int]:
    """Loss and gradients of a rank's share of four packs against all of them in one process; how much it holds."""
    world = plan.copies * plan.parameter_shards
    single, spread = enliven(hollow()), hollow()
    whole = sum((loss_of(single, number) for number in range(PACKS)), torch.zeros(()))
    whole.backward()
    mesh = build_mesh(plan, "cpu")
    shard(spread, plan, mesh=mesh, parameters=parameter_mesh(plan, "cpu"))
    enliven(spread)
    own = range(plan.data_rank(rank), PACKS, plan.data_ranks)
    mine = 0.0
    for number in own:
        spread.set_requires_all_reduce(number == own[-1])  # type: ignore[operator]
        loss = loss_of(spread, number, rank=rank % plan.sequence, size=plan.sequence)
        (loss * world).backward()
        mine += loss.item()
    for (name, one), (other, two) in zip(single.named_parameters(), spread.named_parameters(), strict=True):
        assert name == other
        assert_close(two.full_tensor(), one.detach(), rtol=0, atol=0, msg=name)  # type: ignore[operator]
        assert two.grad is not None
        assert one.grad is not None
        assert one.grad.abs().max() > 0
        assert_close(
            two.grad.full_tensor(), one.grad, rtol=1e-9, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
        )  # type: ignore[operator]
    assert tags(spread) == tags(single)
    total = torch.tensor([mine], dtype=torch.float64)
    torch.distributed.all_reduce(total)
    assert_close(total[0], whole.detach(), rtol=1e-10, atol=0)
    return mine, sum(p.to_local().numel() for p in spread.parameters())  # type: ignore[operator]


@pytest.mark.parametrize("sizes", [(2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_two_processes_are_one(sizes: tuple[int, int, int]) -> None:
    replicate, shards, sequence = sizes
    run_ranks(compare, 2, Plan(replicate=replicate, shard=shards, sequence=sequence))


@pytest.mark.parametrize("sizes", [(2, 2, 1), (1, 2, 2), (1, 1, 4)])
def test_four_processes_are_one(sizes: tuple[int, int, int]) -> None:
    replicate, shards, sequence = sizes
    held = [held for _, held in run_ranks(compare, 4, Plan(replicate=replicate, shard=shards, sequence=sequence))]
    whole = sum(p.numel() for p in hollow().parameters())
    assert max(held) < 1.1 * whole / (shards * sequence)


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputing_changes_no_gradient_and_keeps_less(recompute: str) -> None:
    kept = []
    models = [enliven(hollow()), enliven(hollow())]
    save_memory(models[1], Plan(recompute=recompute))
    for model in models:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):  # type: ignore[misc]
            loss = loss_of(model, 0)
        loss.backward()
        kept.append(sum(sizes))
    for one, two in zip(*(model.named_parameters() for model in models), strict=True):
        assert one[0] == two[0]
        assert_close(two[1].grad, one[1].grad)
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the compiler: leaves, and complex numbers
def test_compiled_blocks_are_the_same_and_compiled_once() -> None:
    models = [enliven(hollow(depth=1)), enliven(hollow(depth=1))]
    save_memory(models[1], Plan(compile=True, recompute="full"))
    counters.clear()
    graphs = []
    for number in range(3):
        losses = [loss_of(model, number) for model in models]
        for loss in losses:
            loss.backward()
        assert_close(losses[1], losses[0])
        graphs.append(counters["stats"]["unique_graphs"])
    for one, two in zip(*(model.parameters() for model in models), strict=True):
        assert_close(two.grad, one.grad)
    assert graphs[0] > 0
    assert graphs == [graphs[0]] * 3
