"""Writes what a run measures, a row a step: metrics.csv always, the logger where one is chosen, and a progress line.

- Other callbacks offer figures of the whole run by a method `measures()`.
- Floats are written so that they read back to the same bits; a resumed run cuts the rows it does again.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.parallel import agree

Row = dict[str, float | int]


@runtime_checkable
class Measuring(Protocol):
    """A callback with figures of its own for the row of a step."""

    def measures(self) -> Mapping[str, float]:
        """Figures of the step just completed, the same on all ranks."""
        ...


class Metrics(Callback):
    """Collects `outputs["metrics"]` of a step for `dir`/metrics.csv, the logger and a progress line up to `samples`."""

    def __init__(self, *, dir: str, samples: int) -> None:  # noqa: A002 - the key is run.dir's
        self.table = Table(Path(dir) / "metrics.csv")
        self.line = Line(total=samples)
        self.sums: dict[str, Tensor | float] = defaultdict(float)
        self.since = time.perf_counter()
        self.group: dist.ProcessGroup | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A way of its own to the other ranks."""
        self.group = agree.fresh_group()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first step's time counts from here."""
        self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Add the micro-batch's metrics; write the row when the step is complete."""
        for name, value in outputs["metrics"].items():
            self.sums[name] = self.sums[name] + value.detach()
        place = batch.place
        if place.micro < place.micros - 1:
            return
        sums = over_ranks(on_host(self.sums), group=self.group)
        self.sums.clear()
        if trainer.is_global_zero:
            self.write(trainer, place, sums)
        self.since = time.perf_counter()

    def write(self, trainer: Trainer, place: Place, sums: Mapping[str, float]) -> None:
        """One row, to everyone who wants it."""
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        row: Row = {
            "step": place.step + 1,
            "samples_seen": place.samples_seen,
            "lr": rates[0] if rates else 0.0,
            **sums,
        }
        for callback in trainer.callbacks:
            if isinstance(callback, Measuring):
                row |= callback.measures()
        row["seconds"] = time.perf_counter() - self.since
        self.table.add(row)
        self.line.show(row)
        if trainer.logger is not None:
            trainer.logger.log_metrics(row, step=place.samples_seen)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the line."""
        self.line.close()


class Table:
    """A CSV file that grows by rows and, where a new figure turns up, by a column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] | None = None

    def add(self, row: Row) -> None:
        """Append `row`; the first one of a process cuts what an earlier process has written from its step on."""
        if self.columns is None or not set(row) <= set(self.columns):
            before = [old for old in self.read() if int(old["step"]) < row["step"]]
            known = list(before[0]) if before else []
            self.columns = [*known, *(name for name in row if name not in known)]
            self.rewrite(before)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def read(self) -> list[dict[str, str]]:
        """All whole rows so far."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if None not in row.values() and (row["step"] or "").isdigit()]

    def rewrite(self, rows: list[dict[str, str]]) -> None:
        """Replace the file by the header and `rows`."""
        assert self.columns is not None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(".metrics.part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path)


class Line:
    """Progress on standard error: where the run is, its loss, rate and time left; at most one line in some seconds."""

    def __init__(self, *, total: int) -> None:
        self.total = total
        self.started: tuple[float, int] | None = None
        self.shown = 0.0
        self.interactive = sys.stderr.isatty()

    def show(self, row: Row) -> None:
        """Show the row if the last one is old enough, or the run is complete."""
        now, seen = time.perf_counter(), int(row["samples_seen"])
        self.started = self.started or (now, seen)
        every = 0.5 if self.interactive else 10.0
        if now - self.shown < every and seen < self.total:
            return
        self.shown = now
        began, first = self.started
        rate = (seen - first) / max(now - began, 1e-9)
        left = clock((self.total - seen) / rate) if rate else "?"
        loss = f" · loss {row['loss']:.4f}" if "loss" in row else ""
        done = min(seen, self.total)  # the last step is a whole one, and may have more than the run asks for
        text = f"step {row['step']} · {done}/{self.total} samples{loss} · {rate:.1f} samples/s · {left} left"
        sys.stderr.write(f"\r{text}\x1b[K" if self.interactive else f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """End the line on a terminal."""
        if self.interactive and self.started:
            sys.stderr.write("\n")


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss under an hour."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def on_host(figures: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Figures that lie on a device as numbers, by one look at it."""
    if not figures:
        return {}
    values = torch.stack([torch.as_tensor(value).double() for value in figures.values()])
    return dict(zip(figures, values.tolist(), strict=True))


def over_ranks(sums: dict[str, float], *, group: dist.ProcessGroup | None) -> dict[str, float]:
    """The sums added up over the ranks of a group, whatever names each of them has; the same on all of them."""
    if group is None:
        return sums
    gathered: list[dict[str, float]] = [{} for _ in range(dist.get_world_size(group))]
    dist.all_gather_object(gathered, sums, group=group)
    total: dict[str, float] = defaultdict(float)
    for item in gathered:
        for name, value in item.items():
            total[name] += value
    return dict(total)
