"""The report's section on training: loss, how it is made up, and throughput of each run, from its metrics.csv."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from dit_video.page import plots
from dit_video.page.document import absent, duration, note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[np.float64]]

RUNS = {"vae": "Autoencoder", "recaptioner": "Recaptioner", "dit": "Diffusion transformer"}
LEVELS = ("0 to ¼ noise", "¼ to ½", "½ to ¾", "¾ to 1")


def training(folder: Path) -> str:
    """Loss and throughput of each run, over samples seen."""
    parts = []
    for name, title in RUNS.items():
        columns = read_metrics(folder / "runs" / name / "metrics.csv")
        if len(columns.get("samples_seen", ())) < 2:
            parts.append(
                f"<h3>{title}</h3>"
                + absent(f"No curves: runs/{name}/metrics.csv is missing or has fewer than two steps.")
            )
            continue
        seen, seconds = columns["samples_seen"], columns.get("seconds", np.array([np.nan]))
        steps = columns.get("step", seen)[-1]
        facts = f"{steps:,.0f} steps, {seen[-1]:,.0f} samples, {duration(float(np.nansum(seconds)))} of steps"
        parts.append(f'<h3>{title}<small>{facts}</small></h3><div class="plots">{"".join(panels(columns))}</div>')
    told = "Over samples seen; faint is each step, strong a mean over a fortieth of the run."
    return note(told) + "".join(parts)


def panels(columns: Columns) -> list[str]:
    """The plots of a run: its loss, what else says how it learns, its rate."""
    seen, empty = columns["samples_seen"], np.full(len(columns["samples_seen"]), np.nan)
    middle = ""
    levels = [level for n in range(len(LEVELS)) if (level := by_level(columns, n)) is not None]
    if levels:
        middle = plots.lines("Loss by noise level", levels, unit="")
    elif "mse" in columns:
        decibel = 10 * np.log10(4 / np.clip(columns["mse"], 1e-9, None))  # mse in units of [-1, 1]
        if (c := plots.curve(seen, decibel)) is not None:
            middle = plots.lines("Reconstruction", [c], unit="PSNR, dB")
    found = []
    if (c := plots.curve(seen, columns.get("loss", empty))) is not None:
        found.append(plots.lines("Loss", [c], unit="", wide=not middle))
    if middle:
        found.append(middle)
    rate = columns.get("samples_per_second", empty)
    if not np.isfinite(rate).any() and "seconds" in columns:
        rate = np.diff(seen, prepend=0.0) / np.maximum(columns["seconds"], 1e-9)
    if (c := plots.curve(seen, rate, style="c0")) is not None:
        found.append(plots.lines("Throughput", [c], unit="samples a second", zero=True))
    return found


def by_level(columns: Columns, level: int) -> plots.Curve | None:
    """The mean loss of a quarter of the noise levels: sums and their shares are smoothed apart, then divided."""
    loss, weight = columns.get(f"loss_sigma{level}"), columns.get(f"share_sigma{level}")
    if loss is None or weight is None:
        return None
    kept = np.isfinite(loss) & np.isfinite(weight)
    if kept.sum() < 2:
        return None
    mean = plots.smooth(loss[kept]) / np.maximum(plots.smooth(weight[kept]), 1e-12)
    some = plots.smooth(weight[kept]) > 1e-9
    if some.sum() < 2:
        return None
    return plots.Curve(columns["samples_seen"][kept][some], mean[some], name=LEVELS[level], style=f"c{level}")


def read_metrics(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a metrics.csv, empty cells as NaN; no columns where it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else {})}
    except (OSError, ValueError, TypeError):
        return {}
