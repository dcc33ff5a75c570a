"""Checkpoint folders as wholes: made under a temporary name, renamed when complete, found by verifying."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist

from dit_video import log
from dit_video.checkpoint import manifest, writer
from dit_video.checkpoint.manifest import Progress
from dit_video.checkpoint.pieces import Piece, own
from dit_video.checkpoint.state import State, size_of
from dit_video.errors import CheckpointError
from dit_video.launch import shared

NAME = re.compile(r"\d{12}-\d{8}")
MENDS = {
    errno.ENOSPC: "free some room in {}",
    errno.EDQUOT: "free some of your quota in {}, or have it raised",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f) for {}",
    errno.EROFS: "make {} writable",
    errno.EACCES: "make {} writable",
    errno.EPERM: "make {} writable",
}


@dataclass(frozen=True, kw_only=True)
class About:
    """What a checkpoint says beside its tensors: the resolved settings as YAML, and where the run stood."""

    config: str
    progress: Progress

    @property
    def name(self) -> str:
        """SAMPLES-STEP, the folder's name."""
        return f"{self.progress.samples_seen:012d}-{self.progress.step:08d}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which checkpoints stay: the newest `keep`, and for ever the first after each `keep_every` samples (0: none)."""

    keep: int
    keep_every: int = 0


def save(folder: Path, state: State, *, config: str, fingerprint: str, step: int, samples_seen: int) -> Path:
    """Write `state` as `folder`/SAMPLES-STEP and return that path; every process of the run must call it.

    `config` is the resolved configuration as YAML. Raises CheckpointError on all processes if the disk has not the room
    or fails on any of them; the ones before are left as they were.
    """
    about = About(config=config, progress=Progress(step=step, samples_seen=samples_seen, fingerprint=fingerprint))
    return put(folder, own(state), about=about, size=size_of(state))


def put(
    folder: Path,
    pieces: Sequence[Piece] | Exception,
    *,
    about: About,
    size: int,
    group: dist.ProcessGroup | None = None,
) -> Path:
    """Write pieces of `size` bytes in all as a checkpoint; see `save`. An exception in their place fails it on all."""
    temporary, final = folder / f".{about.name}.part", folder / about.name

    def start() -> None:
        _last()
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise OSError(errno.ENOSPC, f"it needs {size / 1e6:.1f} MB, {free / 1e6:.1f} MB are left")

    def finish() -> None:
        for name in files:
            if not (temporary / name).is_file():
                raise CheckpointError(f"{name} of another process is not there: do all share this disk?")
        config = manifest.put(temporary / "config.yaml", about.config.encode())
        manifest.write(temporary, about.progress, files | {"config.yaml": config})
        _last()
        _rename(temporary, final)

    try:
        _first(start, group)
        files = writer.write(temporary, pieces, group=group)
        _first(finish, group)
    except (OSError, CheckpointError, RuntimeError) as error:  # the last is torch's, of a process that is gone
        if (not writer.distributed() or dist.get_rank() == 0) and not shared.later(shared.of(1).attempt):
            shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(_message(folder, about, error)) from error
    return final


def _last() -> None:
    """CheckpointError where the job of this process has been started again, so that another one writes the run."""
    if later := shared.later(shared.of(1).attempt):
        raise CheckpointError(f"{later} is a later start of this job, which goes on in its place")


def _message(folder: Path, about: About, error: Exception) -> str:
    """One line: what is wrong in the system's words, what is kept, what mends it."""
    number = error.errno if isinstance(error, OSError) else None
    mend = MENDS.get(number, "see to the disk of {}").format(folder) if number else "see to that"
    what = (isinstance(error, OSError) and error.strerror) or (f"{error}".splitlines() or [type(error).__name__])[0]
    seen = about.progress.samples_seen
    return f"the checkpoint at {seen} samples was not saved ({what}); the ones before it are kept: {mend}"


def latest(folder: Path, *, together: bool = False) -> Path | None:
    """The newest checkpoint whose manifest verifies; None if there is none at all.

    Damaged ones are passed over with a warning. Raises CheckpointError if all are damaged: a run never starts again
    from 0 unasked. With `together` all processes of the run call it, each reads its share of the files, and all take
    the same answer.
    """
    from dit_video.parallel import agree

    many = together and writer.distributed()
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if many else (0, 1)
    highest = agree.highest if many else list
    name, tried = "~", 0
    while True:
        mine = next((path.name.split("-") for path in candidates(folder) if path.name < name), (-1, -1))
        samples, step = highest([int(part) for part in mine])
        if samples < 0:
            break
        name, tried = f"{samples:012d}-{step:08d}", tried + 1
        if not any(highest([int(not _sound(folder / name, rank=rank, ranks=ranks))])):
            return folder / name
    if tried:
        raise CheckpointError(
            f"all {tried} checkpoints in {folder} are damaged; restore one, or choose another run.dir"
        )
    return None


def _sound(path: Path, *, rank: int, ranks: int) -> bool:
    try:
        manifest.verify(path, rank=rank, ranks=ranks)
    except (CheckpointError, OSError) as error:
        log.get("dit_video.checkpoint").warning("passed over: %s", error)
        return False
    return True


def candidates(folder: Path) -> list[Path]:
    """Checkpoint folders, complete by their name, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir()), reverse=True)


def prune(folder: Path, *, rule: Rule, newest: Path | None) -> None:
    """Delete what `rule` does not keep, and what interrupted saves have left.

    `newest` is the newest sound checkpoint. It stays, and so does what is newer, and damaged then: that is not ours to
    judge.
    Older ones that are visibly damaged do not count as kept. Without a sound one nothing is deleted.
    """
    for path in [*folder.glob(".*.part"), *folder.glob(".*.old")]:
        shutil.rmtree(path, ignore_errors=True)
    if newest is None:
        return
    older = [path for path in candidates(folder) if path.name < newest.name]
    kept = {newest, *[path for path in older if manifest.looks_whole(path)][: rule.keep - 1], *_marks(folder, rule)}
    for path in older:
        if path not in kept:
            _delete(path)


def _marks(folder: Path, rule: Rule) -> list[Path]:
    """The first checkpoint after each multiple of `keep_every` samples; it stays the first whatever comes later."""
    first: dict[int, Path] = {}
    for path in reversed(candidates(folder)):
        if rule.keep_every and (number := int(path.name.split("-")[0]) // rule.keep_every):
            first.setdefault(number, path)
    return list(first.values())


def _delete(path: Path) -> None:
    """Out of sight first, so that a kill in the midst leaves no checkpoint in part."""
    old = path.with_name(f".{path.name}.old")
    try:
        path.rename(old)
    except OSError as error:
        log.get("dit_video.checkpoint").warning("%s cannot be deleted (%s)", path, error.strerror)
    shutil.rmtree(old, ignore_errors=True)


def _rename(temporary: Path, final: Path) -> None:
    """The moment from which a checkpoint is there. Of the same place, a sound one stays and a damaged one is replaced.

    So there is no moment at which a sound one is out of the way and the new one not yet in its place.
    """
    if final.exists():
        if _sound(final, rank=0, ranks=1):
            shutil.rmtree(temporary, ignore_errors=True)
            return
        _delete(final)
    temporary.rename(final)
    manifest.sync(final.parent)


def _first(work: Callable[[], None], group: dist.ProcessGroup | None) -> None:
    """Do `work` on the first process; the others wait for it, and fail if it fails."""
    if not writer.distributed():
        work()
        return
    problem: list[tuple[int | None, str] | None] = [None]
    failure: Exception | None = None
    if dist.get_rank() == 0:
        try:
            work()
        except Exception as error:  # the others would wait for ever
            failure, number = error, getattr(error, "errno", None)
            problem = [(number, getattr(error, "strerror", None) or str(error))]
    dist.broadcast_object_list(problem, src=0, group=group)
    if failure is not None:
        raise failure
    if problem[0] is not None:
        number, text = problem[0]
        raise OSError(number, text) if number is not None else CheckpointError(text)
