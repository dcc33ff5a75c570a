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


def write(name: str, figures: Mapping[str, object], *, unit: str = "") -> None:
    """Write the figures of a benchmark, and say where."""
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "commit": commit()}
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = about | ({"unit": unit} if unit else {}) | {"figures": dict(figures)}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    log.say(f"written to {path}")
