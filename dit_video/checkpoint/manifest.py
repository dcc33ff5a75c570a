"""The manifest of a checkpoint: what it must hold, to the byte, and where in the run it was made."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from dit_video.errors import CheckpointError

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: optimizer steps done, samples seen by all ranks, and the dataset's fingerprint."""

    step: int
    samples_seen: int
    fingerprint: str = ""


def write(folder: Path, progress: Progress) -> None:
    """Hash every file of `folder` into its manifest, then sync files and folder to the disk."""
    files = {path.name: _entry(path) for path in sorted(folder.iterdir()) if path.name != NAME}
    content = {
        "format": FORMAT,
        "step": progress.step,
        "samples_seen": progress.samples_seen,
        "fingerprint": progress.fingerprint,
        "files": files,
    }
    (folder / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def verify(folder: Path) -> dict[str, object]:
    """The manifest's content; CheckpointError that says what is wrong if any byte differs from it."""
    content = read(folder)
    files = content["files"]
    present = {path.name for path in folder.iterdir()} - {NAME}
    if not isinstance(files, dict) or present != set(files):
        raise CheckpointError(f"checkpoint {folder} does not hold the files of its manifest")
    for name, expected in files.items():
        if not isinstance(expected, dict) or (folder / name).stat().st_size != expected.get("bytes"):
            raise CheckpointError(f"checkpoint {folder}: {name} has not the size of its manifest")
        if _entry(folder / name) != expected:
            raise CheckpointError(f"checkpoint {folder}: {name} is damaged (its SHA-256 differs from the manifest's)")
    return content


def progress(folder: Path) -> Progress:
    """Where the run stood when the checkpoint was made."""
    content = read(folder)
    return Progress(
        step=int(str(content["step"])),
        samples_seen=int(str(content["samples_seen"])),
        fingerprint=str(content["fingerprint"]),
    )


def read(folder: Path) -> dict[str, object]:
    """The manifest's content, unverified; CheckpointError if there is none."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CheckpointError(
            f"{folder} is not a checkpoint (no readable {NAME}); give a folder of RUN/checkpoints"
        ) from None
    if not isinstance(content, dict) or not {"step", "samples_seen", "fingerprint", "files"} <= set(content):
        raise CheckpointError(f"the manifest of {folder} is incomplete")
    if content.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {folder} has format {content.get('format')}; this version reads {FORMAT}")
    return content


def sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _entry(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
