"""Checkpoint folders as wholes: made under a temporary name, renamed when complete, found by verifying."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from dit_video import log
from dit_video.checkpoint import manifest, tensors
from dit_video.checkpoint.manifest import Progress
from dit_video.checkpoint.state import State, flat
from dit_video.errors import CheckpointError

NAME = re.compile(r"\d{12}-\d{8}")


def save(folder: Path, state: State, *, config: str, fingerprint: str, step: int, samples_seen: int) -> Path:
    """Write `state` as `folder`/SAMPLES-STEP and return that path; every process of the run must call it.

    `config` is the resolved configuration as YAML. A checkpoint of the same place is replaced. Raises CheckpointError
    on all processes if the disk has not the room or fails on any of them; the ones before are left as they were.
    """
    name = f"{samples_seen:012d}-{step:08d}"
    temporary, final = folder / f".{name}.part", folder / name

    def start() -> None:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _check_room(folder, state)

    def finish() -> None:
        (temporary / "config.yaml").write_text(config, encoding="utf-8")
        manifest.write(temporary, Progress(step=step, samples_seen=samples_seen, fingerprint=fingerprint))
        _replace(temporary, final)

    try:
        _first(start)
        tensors.write(temporary, state)
        _first(finish)
    except (OSError, CheckpointError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint at {samples_seen} samples was not saved ({reason(error)}); the ones before it are kept. "
            "Free some room, then the same command goes on"
        ) from error
    return final


def latest(folder: Path) -> Path | None:
    """The newest checkpoint whose manifest verifies; None if there is none at all.

    Damaged ones are passed over with a warning. Raises CheckpointError if all are damaged: a run never starts again
    from 0 unasked.
    """
    found = candidates(folder)
    for path in found:
        try:
            manifest.verify(path)
        except (CheckpointError, OSError) as error:
            log.get("dit_video.checkpoint").warning("passed over: %s", error)
        else:
            return path
    if found:
        raise CheckpointError(
            f"all {len(found)} checkpoints in {folder} are damaged; restore one, or choose another run.dir"
        )
    return None


def candidates(folder: Path) -> list[Path]:
    """Checkpoint folders, complete by their name, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir()), reverse=True)


def prune(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what interrupted saves have left."""
    for path in [*candidates(folder)[keep:], *folder.glob(".*.part"), *folder.glob(".*.old")]:
        shutil.rmtree(path, ignore_errors=True)


def _replace(temporary: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    temporary.rename(final)
    manifest.sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _check_room(folder: Path, state: State) -> None:
    needed = sum(value.numel() * value.element_size() for value in flat(state).values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(f"it needs {needed / 1e6:.1f} MB and {folder} has {free / 1e6:.1f} MB left")


def reason(error: Exception) -> str:
    """What is wrong, in the system's words without its number."""
    return getattr(error, "strerror", None) or str(error)


def _first(work: Callable[[], None]) -> None:
    """Do `work` on the first process; the others wait for it, and fail if it fails."""
    if not tensors.distributed():
        work()
        return
    problem: list[str | None] = [None]
    if dist.get_rank() == 0:
        try:
            work()
        except (OSError, CheckpointError) as error:
            problem = [reason(error)]
    dist.broadcast_object_list(problem, src=0)
    if problem[0] is not None:
        raise CheckpointError(problem[0])
