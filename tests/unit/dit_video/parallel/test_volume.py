"""What the formulas say that ranks send, against a count of what they send in real steps of a DiT on gloo."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dit_video.batch import Layout, PackBatch, Place
from dit_video.models.dit import DiT
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.text.tokenizer import Tokenizer
from dit_video.optim.adamw import AdamW
from dit_video.optim.muon import Muon
from dit_video.parallel.materialise import materialise
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.parallel.rehearsal import precise
from dit_video.parallel.sequence import part_batch
from dit_video.parallel.shard import shard
from dit_video.parallel.volume import Sent, Traffic, attended, parted, traffic
from dit_video.tasks.dit import DiTTask

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

MICROS = 2
PLANS = [
    (Plan(shard=4), AdamW, "32-true"),
    (Plan(shard=4), Muon, "bf16-mixed"),
    (Plan(replicate=2, shard=2), Muon, "32-true"),
    (Plan(replicate=4), Muon, "32-true"),
    (Plan(shard=2, sequence=2), AdamW, "bf16-mixed"),
    (Plan(sequence=4, recompute="full"), Muon, "32-true"),
    (Plan(replicate=2, sequence=2, recompute="selective"), AdamW, "32-true"),
]


def task(kind: Any = AdamW) -> DiTTask:
    """Sizes whose rows do not all divide by four."""
    text = partial(TextEncoder, vocabulary=301, length=8, width=18, depth=1, heads=2)
    dit = partial(DiT, channels=3, patch=1, width=40, depth=3, heads=4, text_width=18)
    return DiTTask(dit=dit, text=text, optim=partial(kind, lr=1e-3))


def pack() -> PackBatch:
    """Two clips of 12 and 8 tokens in three and two frames."""
    place = Place(step=0, samples_seen=2, micro=0, micros=1, packs=((0, 0),), step_weight=20.0)
    layout = Layout(
        position=torch.zeros(20, 3),
        frame=torch.arange(5).repeat_interleave(4),
        sample=torch.tensor([0, 0, 0, 1, 1]),
        given=torch.zeros(5, dtype=torch.bool),
        lead=torch.zeros(5, dtype=torch.bool),
        extent=torch.full((2, 2), 2.0),
        lengths=(12, 8),
    )
    names = ("", "")
    about = {"layout": layout, "captions": names, "keys": names, "sources": names, "place": place}
    return PackBatch(data=torch.zeros(20, 3), weight=torch.ones(20), pack=torch.zeros(20, dtype=torch.int64), **about)


def expected(plan: Plan, kind: Any, precision: str) -> Traffic:
    """By the formulas, from models without numbers."""
    hollow = task(kind)
    with torch.device("meta"), torch.no_grad():
        hollow.build()
        tokens = attended(hollow.children(), lambda: hollow.rehearse(pack().to("meta")))
    optimizer = hollow.configure_optimizers()
    matrices = optimizer.all_matrices() if isinstance(optimizer, Muon) else ()
    found = [unit for model in hollow.children() for unit in parted(model)]
    half = precision == "bf16-mixed"
    return traffic(found, plan, micros=MICROS, half=half, tokens=tokens, matrices=matrices)


def step(made: DiTTask, batch: PackBatch) -> torch.Tensor:
    """A forward of both models, as FSDP2 sees them."""
    return made.dit(batch.data, torch.zeros(5), batch.layout, made.text(batch.captions)).square().sum()


def measured(rank: int, plan: Plan, kind: Any, precision: str) -> dict[str, float]:
    """What this rank sends in a step, by kind."""
    made = task(kind)
    mesh, parameters = build_mesh(plan, "cpu"), parameter_mesh(plan, "cpu")
    with torch.device("meta"):
        made.build()
    for name, model in made.named_children():
        shard(model, plan, mesh=mesh, parameters=parameters, precision=precision)
        materialise(model, device=torch.device("cpu"), seed=0, purpose=name)
    made.text.set_tokenizer(Tokenizer.train(["a red circle"], size=made.text.size))
    optimizer = made.configure_optimizers()
    batch = part_batch(pack(), rank=rank % plan.sequence, size=plan.sequence)
    with precise(precision), Sent() as sent:
        for micro in range(MICROS):
            for model in made.children():
                model.set_requires_all_reduce(micro == MICROS - 1)
            step(made, batch).backward()
        optimizer.step()
    return {kind: float(value) for kind, value in sent.bytes.items()}


@pytest.mark.parametrize(("plan", "kind", "precision"), PLANS)
def test_the_formulas_are_what_is_sent(plan: Plan, kind: Any, precision: str) -> None:
    plan = plan.fill(4)
    told, found = expected(plan, kind, precision), run_ranks(measured, 4, plan, kind, precision)
    norm = 8 * (1 - 1 / plan.parameter_shards)
    for counts in found:
        assert counts.get("allgather_base", 0) == told.gathers
        assert counts.get("reduce_scatter_base", 0) == told.scatters
        assert counts.get("allreduce", 0) == told.copies + norm
    assert max(counts.get("alltoall_base", 0) for counts in found) == told.trades + told.matrices
    assert set().union(*found) <= {"allgather_base", "reduce_scatter_base", "allreduce", "alltoall_base"}
