"""Folders of runs below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dit_video.slurm import submit

MARKS = frozenset({"state.json", "metrics.csv", "checkpoints", ".lock", "restarts.jsonl"})
JOBS = f"{submit.FOLDER}/{submit.TABLE}"
SETTING = re.compile(r"([A-Za-z_][\w./@]*)=(.*)", flags=re.DOTALL)
DEEPEST = 8


def is_run(names: set[str], folder: Path) -> bool:
    """Whether a folder with these entries is that of a run: one that trains, has trained, or is to."""
    return bool(names & MARKS) or (submit.FOLDER in names and (folder / JOBS).is_file())


def runs(folder: Path, *, depth: int = DEEPEST) -> Iterator[Path]:
    """The runs in a folder and below, in the order of their names; what lies in a run is its own, but for a sweep's."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return
    names = {name for name, _ in found}
    points = [name for name, inside in found if inside and settings(name)]
    mine = is_run(names, folder)
    if mine and not points:
        yield folder
    if depth and "dataset.json" not in names:
        for name in points if mine else (name for name, inside in found if inside and not name.startswith(".")):
            yield from runs(folder / name, depth=depth - 1)


def points(folder: Path) -> list[Path]:
    """The runs of a sweep: folders named by the settings in which they differ."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and settings(path.name))


def settings(name: str) -> dict[str, str]:
    """The settings that a point of a sweep is named by, `optim.lr=0.001,run.seed=1`; none for another name."""
    parts: list[str] = []
    depth = 0
    for piece in name.split(","):
        if depth or (parts and not SETTING.fullmatch(piece)):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
        depth = max(depth + sum(piece.count(mark) for mark in "[{(") - sum(piece.count(mark) for mark in "]})"), 0)
    found = [SETTING.fullmatch(part) for part in parts]
    return {match[1]: match[2] for match in found if match} if all(found) else {}
