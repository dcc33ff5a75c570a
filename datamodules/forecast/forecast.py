"""The plan of a run as figures: what the data side says of an epoch, and a rehearsal says of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from datamodules.forecast.counts import counts
from datamodules.forecast.epoch import walk
from dit_video.errors import ConfigError
from dit_video.parallel.plan import Plan
from dit_video.parallel.rehearsal import MIXED, TRAINING, Memory, Task, matrices_of, memory
from dit_video.parallel.sequence import heads
from dit_video.parallel.volume import Traffic, attended, parted, traffic

if TYPE_CHECKING:
    from datamodules.forecast.counts import Counts
    from datamodules.forecast.epoch import Epoch


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Clips of one size: `size` of each in units, `flops` and `memory` (activations, in bytes) of each in training.

    Shares are of all samples, units and FLOPs of an epoch; a clip's size counts the conditions drawn for it.
    """

    bucket: str
    clips: int
    samples_share: float
    size: float
    size_share: float
    flops: float
    flops_share: float
    memory: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will do. `flops` are of a training step over all ranks: three forwards, padding and text included.

    `memory` and `traffic` are those of a rank under `plan`. `padding` and `idle` are shares; `samples` are those of the
    run, `epoch_samples` of an epoch, by folder in `datasets`. `seconds` is the time of the run where a rate is given,
    `tflops` a rank.
    """

    name: str
    samples: int
    ranks: int
    plan: Plan
    unit: str
    clips: int
    dropped: dict[str, int]
    datasets: dict[str, float]
    buckets: tuple[Bucket, ...]
    empty: tuple[str, ...]
    streams: int
    packs: int
    micros: int
    length: int
    padding: float
    idle: float
    epoch_samples: float
    epoch_packs: int
    epoch_steps: int
    epochs: float
    steps: int
    flops: float
    memory: Memory
    traffic: Traffic
    tflops: float | None
    seconds: float | None


def forecast(
    data: Any,
    task: Any,
    *,
    name: str,
    samples: int,
    ranks: int,
    plan: Plan | None = None,
    sizes: Sequence[str] | None = None,
    precision: str | int = "32-true",
    gpu: bool = False,
    averages: bool = False,
    tflops: float | None = None,
) -> Forecast:
    """The plan of a run; ConfigError for one that cannot be, or whose streams are fewer than its ranks.

    Args:
        data: the datamodule.
        task: the training task, whose models are made anew here, without numbers.
        name: of the run.
        samples: of the run.
        ranks: processes; they need not be there.
        plan: how they share the work; by default each has a copy of all.
        sizes: buckets given by hand, each of which must have clips.
        precision: of the trainer.
        gpu: whether it runs on GPUs.
        averages: whether the run keeps averages of the weights.
        tflops: 10^12 FLOPs a second that a rank reaches, for the time.
    """
    if not isinstance(task, Task):
        raise ConfigError(f"{type(task).__name__} cannot be rehearsed; run.plan needs a task of dit_video.tasks")
    shared = (plan or Plan()).fill(ranks)
    with torch.device("meta"):
        task.build()
    for model in task.children():
        shared.check(heads=heads(model), length=getattr(data, "length", None))
    found = counts(data, task, sizes=sizes)
    order = data.plan
    data.begin(0, samples, 0, shared.data_ranks)
    order.serve(shared.data_ranks)
    epoch = walk(order, found, ranks=shared.data_ranks, samples=samples)
    sent = exchanged(
        task, lambda: found.hollow(epoch.fullest), shared, micros=data.micros, precision=precision, gpu=gpu
    )
    needed = memory(task, lambda: found.hollow(epoch.fullest), precision=precision, averages=averages, plan=shared)
    flops = TRAINING * float(epoch.flops.sum() + epoch.pad_flops) / epoch.steps
    return Forecast(
        name=name,
        samples=samples,
        ranks=ranks,
        plan=shared,
        unit=found.unit,
        clips=len(data.index),
        dropped=data.chosen.dropped,
        datasets=dict(zip(data.index.folders, epoch.datasets, strict=True)),
        buckets=tuple(buckets(found, epoch, needed, clips=np.bincount(found.code[data.chosen.rows]))),
        empty=found.empty,
        streams=order.order.streams,
        packs=order.packs,
        micros=data.micros,
        length=found.length,
        padding=epoch.padding,
        idle=epoch.idle,
        epoch_samples=epoch.samples,
        epoch_packs=epoch.steps * order.packs,
        epoch_steps=epoch.steps,
        epochs=samples / epoch.samples,
        steps=epoch.run_steps,
        flops=flops,
        memory=needed,
        traffic=sent,
        tflops=tflops,
        seconds=epoch.run_steps * flops / (ranks * tflops * 1e12 * (1 - epoch.idle)) if tflops else None,
    )


def fits(found: Forecast, *, gigabytes: float | None) -> None:
    """ConfigError where a rank needs more than so many 10^9 bytes, with what would help most."""
    needed = found.memory
    if gigabytes is None or needed.total <= gigabytes * 1e9:
        return
    if needed.activations > needed.total / 2:
        way = "set parallel.recompute=full, raise parallel.sequence or lower datamodules.length"
        way = way if found.length else "set parallel.recompute=full or lower datamodules.batch"
    else:
        way = "raise parallel.shard, or use more processes"
    raise ConfigError(f"a rank needs {needed.total / 1e9:.3g} GB and run.memory_gb={gigabytes:g}; {way}")


def exchanged(
    task: Task, batch: Callable[[], Any], plan: Plan, *, micros: int, precision: str | int, gpu: bool
) -> Traffic:
    """What a rank sends in a step of a task that was built on meta tensors, over micro-batches like that of `batch`."""
    with torch.device("meta"), torch.no_grad():
        tokens = attended(task.children(), lambda: task.rehearse(batch())) if plan.sequence > 1 else 0
        matrices = matrices_of(task.configure_optimizers())
    return traffic(
        [unit for model in task.children() for unit in parted(model)],
        plan,
        micros=micros,
        half=precision in MIXED,
        tokens=tokens,
        matrices=matrices,
        matrix_bytes=2 if gpu else 4,
    )


def buckets(found: Counts, epoch: Epoch, needed: Memory, *, clips: np.ndarray[Any, Any]) -> list[Bucket]:
    """The figures of each bucket, by falling share of FLOPs."""
    seen, units, flops = (np.maximum(sums, 1e-300) for sums in (epoch.seen, epoch.units, epoch.flops))
    share = found.share(epoch.fullest)
    rows = [
        Bucket(
            bucket=str(shape),
            clips=int(clips[at]),
            samples_share=float(seen[at] / seen.sum()),
            size=float(units[at] / seen[at]),
            size_share=float(units[at] / units.sum()),
            flops=float(TRAINING * flops[at] / seen[at]),
            flops_share=float(flops[at] / flops.sum()),
            memory=round(needed.activations * share[at]),
        )
        for at, shape in enumerate(found.shapes)
    ]
    return sorted(rows, key=lambda row: row.flops_share, reverse=True)
