"""Where videos go: every place is tried before anything is made, and a file is whole or is not there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dit_video.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dit_video.pipeline.jobs import Job

PICTURES = (".png", ".jpg", ".jpeg")
SUFFIXES = (".mp4", *PICTURES)


def in_folder(jobs: Sequence[Job], folder: Path) -> list[Path]:
    """A path in `folder` for each job's name; RequestError for one that leads elsewhere or is used twice."""
    if folder.suffix.lower() in SUFFIXES or folder.is_file():
        raise RequestError(f"out={folder} is a file; with prompts= expected a folder, such as out=outputs/samples")
    taken: dict[Path, Job] = {}
    for job in jobs:
        with job.blamed():
            name = PurePosixPath(job.name.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise RequestError(f"name={job.name} leaves the folder of out=; expected a name such as a.mp4")
            if folder / name in taken:
                raise RequestError(f"name={job.name} is that of {taken[folder / name].place}; expected another")
            check(Path(job.name), key="name")
        taken[folder / name] = job
    for path, job in taken.items():
        with job.blamed():
            if folders := [parent for parent in path.parents if parent in taken]:
                raise RequestError(f"name={job.name} lies within that of {taken[folders[0]].place}; expected another")
    return list(taken)


def check(path: Path, *, frames: int = 1, key: str = "out") -> None:
    """RequestError where a path cannot be one of so many frames, by its name alone."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise RequestError(f"{key}={path} has none of the suffixes that can be written: {', '.join(SUFFIXES)}")
    if frames > 1 and suffix in PICTURES:
        raise RequestError(f"{key}={path} holds one picture, not {frames} frames; expected .mp4, or seconds=0")


def prepare(path: Path) -> None:
    """Make the folder of a file, and try whether it can be written; RequestError where it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _beside(path).touch()
        _beside(path).unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{str(path)[:200]} cannot be written: {reason}; choose another out=") from error
    if path.is_dir():
        raise RequestError(f"{path} is a folder; expected a file, such as {path / 'a.mp4'}")


def save(path: Path, frames: NDArray[np.uint8], *, fps: float) -> None:
    """Write frames (t, h, w, 3) as an MP4, or the only one as a picture, by the suffix."""
    from dit_video.media.image import write_image
    from dit_video.media.write import write

    part = _beside(path)
    try:
        if path.suffix.lower() in PICTURES:
            write_image(part, frames[0])
        else:
            write(part, frames, fps=fps)
        part.replace(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror or error}; the ones before it stand") from error
    finally:
        part.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """The name a file has until it is whole."""
    return path.with_name(f".{path.stem}.part{path.suffix}")
