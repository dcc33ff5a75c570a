"""A forecast as text for a terminal of 100 columns, and as one JSON document."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datamodules.forecast.forecast import Bucket, Forecast
    from dit_video.parallel.rehearsal import Memory
    from dit_video.parallel.volume import Traffic

ROWS = 24
"""Buckets that are printed, at most; the others are one line."""
PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
HEADS = ("bucket", "clips", "of all", "{unit}/clip", "of all", "FLOPs/clip", "of all", "memory/clip")
WIDTHS = (17, 10, 8, 13, 8, 13, 8, 14)


def document(found: Forecast) -> str:
    """The forecast as JSON: its fields, and sums of memory."""
    made = asdict(found)
    made["memory"] |= {"total": found.memory.total}
    made["traffic"] |= {"total": found.traffic.total}
    return json.dumps(made, indent=2)


def page(found: Forecast) -> str:
    """The forecast for a person."""
    return "\n".join(
        [
            f"{found.name}: the plan of {found.samples:,} samples on {several(found.ranks, 'rank')}",
            "",
            *table(found),
            "",
            *lines(found),
        ]
    )


def table(found: Forecast) -> Iterator[str]:
    """A line a bucket, those with the most FLOPs first."""
    yield row([head.format(unit=found.unit) for head in HEADS])
    for bucket in found.buckets[:ROWS]:
        yield row(cells(bucket))
    rest = found.buckets[ROWS:]
    if rest:
        clips, shares = (
            sum(one.clips for one in rest),
            [sum(getattr(one, name) for one in rest) for name in ("samples_share", "size_share", "flops_share")],
        )
        yield row(
            [f"{len(rest)} others", f"{clips:,}", share(shares[0]), "", share(shares[1]), "", share(shares[2]), ""]
        )


def cells(bucket: Bucket) -> list[str]:
    """The columns of a bucket."""
    return [
        bucket.bucket,
        f"{bucket.clips:,}",
        share(bucket.samples_share),
        amount(bucket.size),
        share(bucket.size_share),
        amount(bucket.flops),
        share(bucket.flops_share),
        size(bucket.memory),
    ]


def row(texts: Sequence[str]) -> str:
    """One line of the table."""
    first, *others = zip(texts, WIDTHS, strict=True)
    return (first[0].ljust(first[1]) + "".join(text.rjust(width) for text, width in others)).rstrip()


def lines(found: Forecast) -> Iterator[str]:
    """All else, by name."""
    taken, memory = sum(bucket.clips for bucket in found.buckets), found.memory
    why = "; ".join(f"{count:,} {reason}" for reason, count in found.dropped.items())
    filled = f" of {found.length:,} tokens, {share(found.padding)} padding" if found.length else ""
    packs = several(found.epoch_packs, "pack")
    step = f"{several(found.packs, 'pack')} of {several(found.streams, 'stream')}"
    yield entry("data", f"{taken:,} of {several(found.clips, 'clip')} take part")
    yield entry("left out", why or "none")
    if found.empty:
        yield entry("no clip in", f"{', '.join(found.empty)}, which step=encode was given")
    if len(found.datasets) > 1:
        yield entry(
            "mixed", "; ".join(f"{share(n / found.epoch_samples)} {name}" for name, n in found.datasets.items())
        )
    yield entry("epoch", f"{several(found.epoch_steps, 'step')}, {found.epoch_samples:,.0f} samples in {packs}{filled}")
    yield entry("run", f"{several(found.steps, 'step')}, {found.epochs:,.2f} epochs")
    yield entry("step", f"{step}, {several(found.micros, 'micro-batch', 'es')} a rank; {amount(found.flops)}FLOPs")
    yield entry("balance", f"ranks idle {share(found.idle)} of the time, by FLOPs")
    yield entry("model", f"{amount(memory.parameters)} parameters")
    yield entry("checkpoint", size(memory.checkpoint))
    if found.ranks > 1 or found.plan.recompute != "none":
        yield entry("parallel", parallel(found))
    yield entry("memory", f"{size(memory.total)} a rank: {listed(held(memory))}")
    if found.ranks > 1:
        yield entry("sent", f"{size(found.traffic.total)} a rank and step: {listed(ways(found.traffic))}")
    yield entry("time", clock(found))


def parallel(found: Forecast) -> str:
    """How the ranks share the work."""
    plan = found.plan
    parts = (
        "1 copy" if plan.copies == 1 else f"{plan.copies:,} copies",
        f"sharded over {several(plan.parameter_shards, 'rank')}",
        f"packs parted over {several(plan.sequence, 'rank')}",
        f"recompute {plan.recompute}",
    )
    return ", ".join(parts)


def held(memory: Memory) -> dict[str, int]:
    """What takes a rank's memory."""
    return {
        "activations": memory.activations,
        "whole layers": memory.gathered,
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "averages": memory.averages,
    }


def ways(traffic: Traffic) -> dict[str, int]:
    """What a rank sends, by what for."""
    return {
        "parameters": traffic.gathers,
        "gradients": traffic.scatters,
        "gradients to copies": traffic.copies,
        "tokens": traffic.trades,
        "matrices": traffic.matrices,
    }


def entry(name: str, text: str) -> str:
    """A named line, folded where it is long."""
    return textwrap.fill(text, 100, initial_indent=f"{name:<12}", subsequent_indent=" " * 12)


def several(count: int, what: str, more: str = "s") -> str:
    """A number of things: 1 step, 2 steps."""
    return f"{count:,} {what}{more * (count != 1)}"


def clock(found: Forecast) -> str:
    """How long the run takes, where that can be told."""
    if found.seconds is None:
        return "add run.tflops=N, the 10^12 FLOPs a second that a rank reaches, to have it"
    hours, seconds = divmod(round(found.seconds), 3600)
    return f"{hours:,} h {seconds // 60} min at {found.tflops:g} TFLOP/s a rank"


def listed(parts: dict[str, int]) -> str:
    """Sizes by name."""
    return ", ".join(f"{name} {size(value)}" for name, value in parts.items() if value)


def share(value: float) -> str:
    """A share as percents."""
    return f"{100 * value:.1f} %"


def amount(value: float) -> str:
    """A number with three digits and a prefix of thousands: 1.23 G."""
    power = 0
    while abs(value) >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    text = f"{value:.0f}" if value >= 99.95 or value == int(value) else f"{value:.3g}"
    return f"{text} {PREFIXES[power]}"


def size(value: int) -> str:
    """Bytes, with three digits."""
    return f"{amount(value)}B"
