"""The sweeps that the tests have samples of, in full: saves, damage, failing ranks, signals, NaN."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fake import checkpoints, crashes, faults, poisons, stops

from benchmarks.soak.measure import spread
from dit_video import log

FLIPS = 500
SCENES = ("new", "again", "stale", "damaged")


def fresh(folder: Path) -> Path:
    """An empty folder to be."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def bit_flips(folder: Path) -> dict[str, Any]:
    """A random bit of a random file of a checkpoint; the one before must be found, to the bit."""
    found = checkpoints.flips(fresh(folder / "flips"), times=FLIPS)
    return {"tried": found["tried"], "refused": found["right"]}


def saves(folder: Path) -> dict[str, Any]:
    """Everything that may happen while a checkpoint is written, or to the files of one."""
    alone = checkpoints.alone
    ways: dict[str, Callable[[Path], dict[str, int]]] = {
        "killed at each call to the system": partial(alone, checkpoints.kill_sweep, kinds=SCENES),
        "one of two ranks killed at each call": ranks_killed,
        "killed at random, saving all the time": partial(alone, checkpoints.random_kills, times=50),
        "each call fails: no room, quota, I/O error, read only": failing,
        "a full disk": partial(alone, checkpoints.full_disks),
        "a limit to a file's size": partial(alone, checkpoints.size_limits),
        "a file cut short": checkpoints.cuts,
        "a file missing, or something else in its place": checkpoints.deletions,
    }
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        found = way(fresh(folder / "saves"))
        figures[name] = {key: found[key] for key in ("tried", "right", "hung") if key in found}
        log.say(f"{name}: {found['right']} of {found['tried']}")
    return {key: sum(found[key] for found in figures.values()) for key in ("tried", "right")} | figures


def ranks_killed(folder: Path) -> dict[str, int]:
    """Either of two."""
    return together(partial(checkpoints.alone, checkpoints.rank_sweep, folder, rank=rank, every=2) for rank in (0, 1))


def failing(folder: Path) -> dict[str, int]:
    """Every way in which a call may fail."""
    errors = checkpoints.ERRORS
    return together(partial(checkpoints.alone, checkpoints.fail_sweep, folder, number) for number in errors)


def together(ways: Any) -> dict[str, int]:
    """Counts of several sweeps."""
    found = [way() for way in ways]
    return {key: sum(counts[key] for counts in found) for key in ("tried", "right", "hung") if key in found[0]}


def failures(folder: Path) -> dict[str, Any]:
    """Each kind of failure on either rank, several in one run: who is named, and how soon it goes on."""
    base, kinds = fresh(folder / "failures"), list(faults.CAUSES)
    oracle = base / "oracle"
    alone = crashes.run(oracle, steps=crashes.steps_for(kinds))
    assert alone.returncode == 0, alone.stderr
    found = []
    for rank in (0, 1):
        found += crashes.crashes(kinds, base / f"rank{rank}", oracle=oracle, rank=rank)
    figures: dict[str, Any] = {"tried": len(found), "silence_s": crashes.SILENCE}
    for key in ("rank_right", "cause_right", "equal"):
        figures[key] = sum(item[key] for item in found)  # type: ignore[literal-required]
    hangs = [item for item in found if faults.CAUSES[item["kind"]][0] in {"stopped", "frozen", "stuck"}]
    for name, items in {"crash": [item for item in found if item not in hangs], "hang": hangs}.items():
        figures[f"{name}_detected_s"] = spread([item["detected_s"] for item in items])
        figures[f"{name}_recovered_s"] = spread([item["recovered_s"] for item in items])
    return figures | {"wrong": [item for item in found if not (item["rank_right"] and item["cause_right"])]}


def signals(folder: Path) -> dict[str, Any]:
    """SIGTERM and SIGUSR1, to each rank and to all, once and twice, at every moment."""
    return stops.tried(stops.every(), fresh(folder / "signals"))


def not_finite(folder: Path) -> dict[str, Any]:
    """NaN and infinity, in a batch and in a gradient, on either rank, under either policy."""
    return poisons.tried(poisons.every(), fresh(folder / "not_finite"))
