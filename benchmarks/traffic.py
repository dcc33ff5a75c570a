"""What ranks send in a step of a small DiT, by the formulas of a plan and counted on four gloo processes.

The count takes the buffers of every real collective (`Sent`); what a rank must send of them follows from their kind.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dit_video.batch import Layout, PackBatch, Place
from dit_video.models.dit import DiT
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.text.tokenizer import Tokenizer
from dit_video.optim.adamw import AdamW
from dit_video.optim.muon import Muon
from dit_video.parallel.materialise import materialise
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.parallel.rehearsal import matrices_of, precise
from dit_video.parallel.sequence import part_batch
from dit_video.parallel.shard import shard
from dit_video.parallel.volume import Sent, Traffic, attended, parted, traffic
from dit_video.tasks.dit import DiTTask

RANKS, MICROS = 4, 2
CHECKED: list[tuple[Plan, Any, str]] = [
    (Plan(shard=4), AdamW, "32-true"),
    (Plan(shard=4), Muon, "bf16-mixed"),
    (Plan(replicate=2, shard=2), Muon, "32-true"),
    (Plan(replicate=4), Muon, "32-true"),
    (Plan(shard=2, sequence=2), AdamW, "bf16-mixed"),
    (Plan(sequence=4, recompute="full"), Muon, "32-true"),
    (Plan(replicate=2, sequence=2, recompute="selective"), AdamW, "32-true"),
]


def small_task(kind: Any) -> DiTTask:
    """A DiT whose rows do not all divide by four."""
    text = partial(TextEncoder, vocabulary=301, length=8, width=18, depth=1, heads=2)
    dit = partial(DiT, channels=3, patch=1, width=40, depth=3, heads=4, text_width=18)
    return DiTTask(dit=dit, text=text, optim=partial(kind, lr=1e-3))


def hollow_pack(length: int, frames: int, *, inside: int) -> PackBatch:
    """One clip of `length` zero tokens of `inside` numbers in `frames` latent frames."""
    flags = torch.zeros(frames, dtype=torch.bool)
    layout = Layout(
        position=torch.zeros(length, 3),
        frame=torch.arange(length) * frames // length,
        sample=torch.zeros(frames, dtype=torch.int64),
        given=flags,
        lead=flags,
        extent=torch.ones(1, 2),
        lengths=(length,),
    )
    place = Place(step=0, samples_seen=1, micro=0, micros=1, packs=((0, 0),), step_weight=1.0)
    one: tuple[str] = ("",)
    return PackBatch(
        data=torch.zeros(length, inside),
        weight=torch.ones(length),
        pack=torch.zeros(length, dtype=torch.int64),
        layout=layout,
        captions=one,
        keys=one,
        sources=one,
        place=place,
    )


def told(plan: Plan, kind: Any, precision: str) -> Traffic:
    """What the formulas say of a step, from models without numbers."""
    made = small_task(kind)
    with torch.device("meta"), torch.no_grad():
        made.build()
        tokens = attended(made.children(), lambda: made.rehearse(hollow_pack(20, 5, inside=3)))
        matrices = matrices_of(made.configure_optimizers())
    found = [unit for model in made.children() for unit in parted(model)]
    half = precision == "bf16-mixed"
    return traffic(found, plan, micros=MICROS, half=half, tokens=tokens, matrices=matrices)


def counted(rank: int, plan: Plan, kind: Any, precision: str) -> dict[str, float]:
    """What this rank sends in a real step, by kind of collective."""
    made = small_task(kind)
    mesh, parameters = build_mesh(plan, "cpu"), parameter_mesh(plan, "cpu")
    with torch.device("meta"):
        made.build()
    for name, model in made.named_children():
        shard(model, plan, mesh=mesh, parameters=parameters, precision=precision)
        materialise(model, device=torch.device("cpu"), seed=0, purpose=name)  # type: ignore[arg-type]
    made.text.set_tokenizer(Tokenizer.train(["a red circle"], size=made.text.size))
    optimizer = made.configure_optimizers()
    batch = part_batch(hollow_pack(20, 5, inside=3), rank=rank % plan.sequence, size=plan.sequence)
    with precise(precision), Sent() as sent:
        for micro in range(MICROS):
            for model in made.children():
                model.set_requires_all_reduce(micro == MICROS - 1)  # type: ignore[operator]
            context = made.text(batch.captions)
            made.dit(batch.data, torch.zeros(5), batch.layout, context).square().sum().backward()
        optimizer.step()
    return {kind: float(value) for kind, value in sent.bytes.items()}


def in_group(rank: int, folder: str) -> None:
    """`counted` of every plan of CHECKED in a process of its own, told by a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    counts = [counted(rank, plan.fill(RANKS), kind, precision) for plan, kind, precision in CHECKED]
    torch.save(counts, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def measured_and_told() -> list[dict[str, Any]]:
    """Every plan of CHECKED: bytes of the busiest rank by the formulas and as counted."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(in_group, (folder,), nprocs=RANKS)  # type: ignore[no-untyped-call]
        counts = [torch.load(Path(folder) / f"{rank}.pt") for rank in range(RANKS)]
    found = []
    for (plan, kind, precision), of_ranks in zip(CHECKED, zip(*counts, strict=True), strict=True):
        filled = plan.fill(RANKS)
        most = {name: max(count.get(name, 0) for count in of_ranks) for name in of_ranks[0]}
        name = f"{filled.copies} x {filled.shard} x {filled.sequence}"
        about = {"plan": name, "recompute": plan.recompute, "optimizer": kind.__name__, "precision": precision}
        found.append(about | {"told": asdict(told(filled, kind, precision)), "counted": most})
    return found
