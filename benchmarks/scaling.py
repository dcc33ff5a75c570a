"""Which parallel plan fits and how fast it would be: DiTs of 1B to 30B on 8 to 1,024 GPUs, by the plan's own formulas.

    PYTHONPATH=. python benchmarks/scaling.py

Memory, bytes and FLOPs come from `dit_video.parallel` and from models without numbers; seconds from the speeds below,
which are assumed: nothing here has run on a GPU. What the formulas say of bytes is held against a count of what four
gloo processes really send. Figures go to benchmarks/results/scaling.json, tables into docs/scaling.md.

- Kernels reach half of 989 TFLOP/s (bf16) while they compute; selective recompute costs 5 %, full a third forward more.
- A node has 8 GPUs: 350 GB/s a GPU within it, 45 GB/s a GPU between nodes. Ring collectives of a group with m GPUs in
  each node have m links between nodes; a hop takes 3 us within a node and 10 us between two.
- FSDP2's collectives overlap with computing, Ulysses' do not: a step takes max(compute, gathers + scatters + copies) +
  trades. Loading data, the update and waiting for slower ranks are not counted.
- AdamW, averages, bf16-mixed; a micro-batch is one pack of one clip; at most 256 packs a step; a tenth of the memory
  is left free. Activations are exactly linear in depth, so they are rehearsed at 2 and 4 blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks import tables
from benchmarks.results import write
from benchmarks.traffic import hollow_pack, measured_and_told
from dit_video import log
from dit_video.models.dit import DiT
from dit_video.models.dit.flops import flops
from dit_video.models.text.encoder import TextEncoder
from dit_video.optim.adamw import AdamW
from dit_video.optim.exchange import Matrix, most_at_once, sent
from dit_video.optim.muon import matrices
from dit_video.parallel.plan import RECOMPUTE, Plan
from dit_video.parallel.rehearsal import TRAINING, memory
from dit_video.parallel.volume import Traffic, Unit, attended, gathered, parted, traffic
from dit_video.tasks.dit import DiTTask

CONF = Path("conf/models/dit")
LARGEST = {"channels": 32, "patch": 1, "width": 6144, "depth": 50, "heads": 48}  # 30B
CLIPS = {"480p, 5 s": (32_768, 21), "720p, 5 s": (75_776, 21)}  # tokens of a pack of one clip, and its latent frames
GPUS = (8, 32, 128, 512, 1024)
ROOM = {"80 GB": 72e9, "141 GB": 127e9}
NODE, NVLINK, BETWEEN = 8, 350e9, 45e9
HOP, LEAP = 3e-6, 10e-6
REACHED, PEAK = 0.5, 989e12
REPEATED = {"none": 1.0, "selective": 1.05, "full": 4 / 3}
PACKS = 256
WORDS, TEXT = 256, {"vocabulary": 16_384, "length": 256, "width": 512, "depth": 6, "heads": 8}


@dataclass(frozen=True)
class Row:
    """A plan on some GPUs: bytes of a GPU, and seconds of a step."""

    model: str
    clip: str
    gpus: int
    plan: Plan
    memory: float
    traffic: Traffic
    compute: float
    hidden: float
    trades: float
    useful: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return max(self.compute, self.hidden) + self.trades

    @property
    def figures(self) -> dict[str, Any]:
        """What is written down."""
        plan, step = self.plan, self.step
        return {
            "model": self.model,
            "clip": self.clip,
            "gpus": self.gpus,
            "plan": f"{plan.copies} x {plan.shard} x {plan.sequence}",
            "recompute": plan.recompute,
            "memory, GB": round(self.memory / 1e9, 1),
            "sent, GB": {name: round(value / 1e9, 2) for name, value in asdict(self.traffic).items()},
            "sent in all, GB": round(self.traffic.total / 1e9, 1),
            "packs": plan.data_ranks,
            "step, s": round(step, 2),
            "communication": round((self.hidden + self.trades) / step, 3),
            "waiting": round((step - self.compute) / step, 3),
            "mfu": round(self.useful / (step * PEAK), 3),
        }


class Model:
    """A DiT of some size, with what all its plans share."""

    def __init__(self, name: str, *, width: int, depth: int, heads: int, channels: int, patch: int) -> None:
        self.name, self.width, self.depth, self.heads = name, width, depth, heads
        self.inside = channels * patch * patch
        self.make = partial(DiT, channels=channels, patch=patch, width=width, heads=heads, text_width=TEXT["width"])

    def task(self, depth: int) -> DiTTask:
        """The task with so many blocks."""
        text = partial(TextEncoder, **TEXT)
        return DiTTask(dit=partial(self.make, depth=depth), text=text, optim=partial(AdamW, lr=1e-3))

    @cached_property
    def hollow(self) -> DiTTask:
        """The task with two blocks, without numbers."""
        made = self.task(2)
        with torch.device("meta"):
            made.build()
        return made

    @cached_property
    def units(self) -> list[Unit]:
        """The units of all blocks and of the rest."""
        found = parted(self.hollow.dit)
        return [found[0]] * self.depth + found[2:] + parted(self.hollow.text)

    @cached_property
    def numbers(self) -> int:
        """Parameters."""
        return sum(unit.held(1) for unit in self.units)

    @cached_property
    def matrices(self) -> list[Matrix]:
        """What Muon would work on."""
        weights = [p for p in self.hollow.dit.layers[0].parameters() if p.matrix]
        return [one._replace(member=one.member + 100 * n) for n in range(self.depth) for one in matrices(weights)]

    def tokens(self, clip: str) -> int:
        """Numbers of tokens in attention."""
        with torch.no_grad():
            pack = hollow_pack(*CLIPS[clip], inside=self.inside).to("meta")
            return attended([self.hollow.dit], lambda: self.hollow.rehearse(pack)) * self.depth // 2

    def flops(self, clip: str) -> float:
        """Of a pack in training."""
        length, frames = CLIPS[clip]
        shape = {"width": self.width, "depth": self.depth, "inside": self.inside}
        return TRAINING * flops(tokens=length, frames=frames, words=WORDS, text_width=TEXT["width"], **shape)

    def activations(self, clip: str) -> dict[str, float]:
        """Bytes of a whole pack, by recompute."""
        found = {}
        for recompute in RECOMPUTE:
            plan = Plan(replicate=2, recompute=recompute)
            pack = partial(hollow_pack, *CLIPS[clip], inside=self.inside)
            two, four = (
                memory(self.task(depth), pack, precision="bf16-mixed", plan=plan).activations for depth in (2, 4)
            )
            found[recompute] = two + (four - two) / 2 * (self.depth - 2)
        return found


def models() -> Iterator[Model]:
    """The sizes of conf/models/dit, and the largest."""
    for name in ("1b", "5b", "14b"):
        found = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
        yield Model(name.upper(), **{key: found[key] for key in LARGEST})
    yield Model("30B", **LARGEST)


def seconds(sent_bytes: float, *, ranks: int, stride: int, calls: int) -> float:
    """Of ring collectives among `ranks` GPUs, each the `stride`th."""
    members = min(ranks, max(NODE // stride, 1))
    nodes = -(-ranks // members)
    speed = NVLINK if nodes == 1 else min(NVLINK, members * BETWEEN)
    return sent_bytes / speed + calls * ((ranks - nodes) * HOP + (nodes - 1) * LEAP)


def row(model: Model, clip: str, plan: Plan, *, tokens: int, activations: float = 0.0) -> Row:
    """A plan's figures."""
    ranks, copies = plan.parameter_shards, plan.copies
    moved = traffic(model.units, plan, micros=1, half=True, tokens=tokens)
    held = sum(unit.held(ranks) for unit in model.units)
    work = model.flops(clip) / plan.sequence
    blocks = len(model.units)
    hidden = seconds(moved.gathers + moved.scatters, ranks=ranks, stride=1, calls=3 * blocks) + seconds(
        moved.copies, ranks=copies, stride=ranks, calls=2 * blocks
    )
    return Row(
        model=model.name,
        clip=clip,
        gpus=copies * ranks,
        plan=plan,
        memory=5 * 4 * held + gathered(model.units, ranks=ranks, half=True) + activations / plan.sequence,
        traffic=moved,
        compute=work * REPEATED[plan.recompute] / (REACHED * PEAK),
        hidden=hidden,
        trades=moved.trades / NVLINK,
        useful=work,
    )


def plans(gpus: int, *, heads: int) -> Iterator[Plan]:
    """All plans whose axes are powers of two, sequence within a node."""
    powers = [2**power for power in range(11)]
    for sequence in (size for size in powers if size <= min(NODE, gpus) and heads % size == 0):
        for shard in (size for size in powers if size * sequence <= gpus):
            for recompute in RECOMPUTE:
                yield Plan(replicate=gpus // (shard * sequence), shard=shard, sequence=sequence, recompute=recompute)


def all_rows(model: Model, clip: str) -> list[Row]:
    """Every plan on every number of GPUs."""
    taken, tokens = model.activations(clip), model.tokens(clip)
    return [
        row(model, clip, plan, activations=taken[plan.recompute], tokens=tokens)
        for gpus in GPUS
        for plan in plans(gpus, heads=model.heads)
    ]


def best(rows: list[Row], *, gpus: int, room: float) -> Row | None:
    """Of the plans that fit and are within 1 % of the fastest, the one that communicates for the least time."""
    fitting = [one for one in rows if one.gpus == gpus and one.memory <= room and one.plan.data_ranks <= PACKS]
    fastest = max((one.useful / one.step for one in fitting), default=0.0)
    close = [one for one in fitting if one.useful / one.step >= 0.99 * fastest]
    return min(close, key=lambda one: one.hidden + one.trades, default=None)


def volumes(model: Model) -> list[dict[str, Any]]:
    """What is sent under plans of all kinds, a pack of the shorter clip each."""
    clip = next(iter(CLIPS))
    tokens = model.tokens(clip)
    kinds = [Plan(shard=8), Plan(shard=128), Plan(shard=1024), Plan(replicate=128, shard=8)]
    kinds += [Plan(replicate=16, shard=8, sequence=8)]
    rows = [row(model, clip, plan.fill(plan.copies * plan.parameter_shards), tokens=tokens) for plan in kinds]
    kept = ("model", "gpus", "plan", "sent, GB", "sent in all, GB")
    return [{key: one.figures[key] for key in kept} for one in rows]


def muon(model: Model) -> list[dict[str, Any]]:
    """What Muon's exchange costs."""
    return [
        {
            "model": model.name,
            "shards": ranks,
            "sent, GB": round(2 * max(sent(model.matrices, ranks=ranks)) / 1e9, 3),
            "whole matrices at once, GB": round(2 * most_at_once(model.matrices, ranks=ranks) / 1e9, 3),
        }
        for ranks in (8, 64, 512)
    ]


def told(one: Row) -> bool:
    """Whether the comparison of plans on 128 GPUs has it."""
    plan = one.plan
    return one.gpus == 128 and plan.sequence in (1, 8) and plan.parameter_shards in (8, 32, 128)


def main() -> None:
    """Compute, say, write."""
    fits, ways, exchange, sizes, moved = [], [], [], [], []
    for model in models():
        log.say(f"{model.name}: {model.numbers / 1e9:.2f} G parameters")
        sizes.append({"model": model.name, "width": model.width, "depth": model.depth, "heads": model.heads})
        sizes[-1] |= {"parameters, 10^9": round(model.numbers / 1e9, 2)}
        exchange += muon(model)
        moved += volumes(model)
        for clip in CLIPS:
            rows = all_rows(model, clip)
            for gpus in GPUS:
                for name, room in ROOM.items():
                    found = best(rows, gpus=gpus, room=room)
                    about = found.figures if found else {"model": model.name, "clip": clip, "gpus": gpus, "plan": ""}
                    fits.append({"room": name} | about)
            if model.name == "14B":
                ways += [one.figures for one in rows if told(one)]
    figures = {"sizes": sizes, "volumes": moved, "best": fits, "14B on 128 GPUs": ways, "muon": exchange}
    write("scaling", figures | {"measured": measured_and_told()})
    tables.main()


if __name__ == "__main__":
    main()
