"""Where figures go: benchmarks/results/NAME.json, with the date, the machine and the commit they were measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from dit_video import log

FOLDER = Path("benchmarks/results")


def machine() -> dict[str, object]:
    """The processor's model and how many cores there are."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.processor(), "cores": os.cpu_count()}


def commit() -> str:
    """The commit that is measured, and whether the tree differs from it."""
    told = [
        subprocess.run(["git", *command], capture_output=True, text=True, check=False).stdout.strip()
        for command in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain"))
    ]
    return told[0] + (" and changes" if told[1] else "")


def about() -> dict[str, object]:
    """When, where and of what."""
    return {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "commit": commit()}


def write(name: str, figures: Mapping[str, object], *, unit: str = "") -> None:
    """Write the figures of a benchmark, and say where."""
    keep(name, about() | ({"unit": unit} if unit else {}) | {"figures": dict(figures)})


def merge(name: str, sections: Mapping[str, Mapping[str, object]], *, minutes: float) -> dict[str, object]:
    """Write sections of a benchmark beside those that are there, each with what it was measured on; returns all."""
    path = FOLDER / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    measured = {"date": about()["date"], "commit": commit(), "minutes": minutes}
    content = before | about() | {key: {**figures, "measured": measured} for key, figures in sections.items()}
    keep(name, content)
    return content


def keep(name: str, content: Mapping[str, object]) -> None:
    """Write a file of results, and say where."""
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    log.say(f"written to {path}")
