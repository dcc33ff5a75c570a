"""All ranks stand at the same place, and copies of the weights are copies: an error that names the rank, not a hang.

- Before every step each rank says where it stands: one exchange of a few numbers, on the CPU.
- Every so many steps, and before a save, each rank adds up the bits of its own weights, averages and optimizer; ranks
  that hold the same shard must have the same sums. One flipped bit changes a sum; nothing is gathered or converted.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.callbacks.ema import Ema
from dit_video.errors import ConfigError
from dit_video.parallel import agree
from dit_video.parallel.local import is_shard, local
from dit_video.parallel.plan import Plan

WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
PLACED = ("step", "samples_seen", "micros", "step_weight")
KINDS = (True, False)  # sharded, whole


class InconsistentError(RuntimeError):
    """Ranks that must be alike are not. No user's mistake: the last checkpoint is good, so the run is started again."""


class Consistent(Callback):
    """Compares places before every step, and the bits of copies every `every` steps; 0 for never."""

    def __init__(self, *, every: int = 100) -> None:
        if every < 0:
            raise ConfigError(f"callbacks.consistent.every must be at least 0, got {every}")
        self.every = every
        self.confirmed = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Raise InconsistentError on all ranks before the step's first forward, where one of them is elsewhere."""
        if batch.place.micro == 0 and not agree.alone():
            compare_places(agree.gathered(stand(batch)), plan_of(pl_module, trainer.world_size))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Compare the bits when the interval is over."""
        place = batch.place
        if self.every and place.micro == place.micros - 1 and (place.step + 1) % self.every == 0:
            self.confirm(trainer, pl_module, step=place.step + 1)

    def confirm(self, trainer: Trainer, pl_module: LightningModule, *, step: int) -> None:
        """Raise InconsistentError on all ranks where copies differ after `step` steps; all ranks call it."""
        if not self.every or step == self.confirmed or agree.alone():
            return
        self.confirmed = step
        found = held(trainer, pl_module)
        own, sharded = sums(found.values()), [is_shard(tensor) for tensor in found.values()]
        plan = plan_of(pl_module, trainer.world_size)
        digests = [digest([total for total, part in zip(own, sharded, strict=True) if part is kind]) for kind in KINDS]
        if all(
            alike(row, plan, sharded=kind) for row, kind in zip(columns(agree.gathered(digests)), KINDS, strict=True)
        ):
            return
        for name, part, row in zip(found, sharded, columns(agree.gathered(own)), strict=True):
            if not alike(row, plan, sharded=part):
                raise InconsistentError(f"step {step}: {name} is {blame(row, plan, sharded=part)}; memory is at fault")


def plan_of(task: LightningModule, world_size: int) -> Plan:
    """The filled plan of a task; copies alone where it says nothing."""
    plan: Plan | None = getattr(task, "plan", None)
    return (plan or Plan()).fill(world_size)


def stand(batch: ClipBatch | PackBatch) -> list[int]:
    """Where a rank stands, as integers: its place, and what it is about to compute."""
    place: Place = batch.place
    weight: int = struct.unpack("<q", struct.pack("<d", place.step_weight))[0]
    sizes = batch.layout.lengths if isinstance(batch, PackBatch) else tuple(batch.video.shape)
    content = hashlib.blake2b(repr((place.packs, sizes)).encode(), digest_size=8).digest()
    packs = hashlib.blake2b(repr(place.packs).encode(), digest_size=8).digest()
    numbers = [place.step, place.samples_seen, place.micros, weight]
    return [*numbers, int.from_bytes(packs, "big", signed=True), int.from_bytes(content, "big", signed=True)]


def compare_places(rows: Sequence[Sequence[int]], plan: Plan) -> None:
    """InconsistentError where ranks are at different places, have the same data, or do not share it as they should."""
    for column, name in enumerate(PLACED):
        values = [row[column] for row in rows]
        if len(set(values)) > 1:
            shown = [struct.unpack("<d", struct.pack("<q", v))[0] if name == "step_weight" else v for v in values]
            raise InconsistentError(f"ranks are at different places in the data: {differing(shown, name)}")
    step = rows[0][0] + 1
    owners: dict[int, int] = {}
    for rank, row in enumerate(rows):
        first = rank - rank % plan.sequence
        if row[4:] != rows[first][4:]:
            raise InconsistentError(f"step {step}: rank {rank} has other packs than rank {first} of its sequence group")
        owner = owners.setdefault(row[4], first)
        if owner != first:
            raise InconsistentError(f"step {step}: ranks {owner} and {rank} have the same packs")


def differing(values: Sequence[Any], name: str) -> str:
    """Which ranks have which value, those of the fewest ranks first."""
    ranks: dict[Any, list[int]] = defaultdict(list)
    for rank, value in enumerate(values):
        ranks[value].append(rank)
    parts = [f"{name} {value} on {few(who)}" for value, who in sorted(ranks.items(), key=lambda item: len(item[1]))]
    return ", ".join(parts[:4])


def few(ranks: Sequence[int]) -> str:
    """Ranks in words, the first of many."""
    text = ", ".join(map(str, ranks[:8])) + (", ..." if len(ranks) > 8 else "")
    return f"rank {text}" if len(ranks) == 1 else f"ranks {text}"


def held(trainer: Trainer, task: LightningModule) -> dict[str, Tensor]:
    """What must be alike on all copies, by name: weights and buffers, averages, optimizer."""
    averages = [item.ema for item in trainer.callbacks if isinstance(item, Ema) and item.ema]  # type: ignore[attr-defined]
    states = [state for optimizer in trainer.optimizers for state in optimizer.state.values()]
    return {
        **task.state_dict(),
        **{f"the average of {name}": value for item in averages for name, value in item.averages.items()},
        **{
            f"{name} of parameter {number} of the optimizer": value
            for number, state in enumerate(states)
            for name, value in state.items()
            if isinstance(value, Tensor)
        },
    }


@torch.no_grad()
def sums(tensors: Iterable[Tensor]) -> list[int]:
    """The sum of the bits of each tensor's part on this rank, as integers modulo 2^64; one look at the device."""
    totals = [bit_sum(local(tensor)) for tensor in tensors]
    device = next((total.device for total in totals if total.device.type != "cpu"), torch.device("cpu"))
    found: list[int] = torch.stack([total.to(device) for total in totals]).tolist() if totals else []
    return found


def bit_sum(tensor: Tensor) -> Tensor:
    """The bits of a tensor added up in words of 64, as far as they go, and the rest in words of its own size; ()."""
    flat = tensor.contiguous().flatten()
    by = 8 // flat.element_size()
    whole = 0 if flat.storage_offset() % by else len(flat) // by * by
    found = flat[whole:].view(WORDS[flat.element_size()]).sum(dtype=torch.int64)
    return found + flat[:whole].view(torch.int64).sum() if whole else found


def digest(numbers: Sequence[int]) -> int:
    """One integer of 64 bits that says all of these."""
    packed = struct.pack(f"<{len(numbers)}q", *numbers)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "big", signed=True)


def columns(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """The values of all ranks, number by number."""
    return [list(column) for column in zip(*rows, strict=True)]


def copies(values: Sequence[int], plan: Plan, *, sharded: bool) -> list[dict[int, int]]:
    """Groups of ranks that must agree: the value of each."""
    parts = plan.parameter_shards if sharded else 1
    return [{rank: values[rank] for rank in range(part, len(values), parts)} for part in range(parts)]


def alike(values: Sequence[int], plan: Plan, *, sharded: bool) -> bool:
    """Whether all that must agree do."""
    return all(len(set(group.values())) == 1 for group in copies(values, plan, sharded=sharded))


def blame(values: Sequence[int], plan: Plan, *, sharded: bool) -> str:
    """Which ranks differ from the most of their copies, in words."""
    group = next(group for group in copies(values, plan, sharded=sharded) if len(set(group.values())) > 1)
    counts = Counter(group.values())
    common, count = counts.most_common(1)[0]
    odd = [rank for rank, value in group.items() if value != common]
    rest = few([rank for rank, value in group.items() if value == common])
    return f"not the same on {few(odd)} and {rest}" if count <= len(odd) else f"another on {few(odd)} than on {rest}"
