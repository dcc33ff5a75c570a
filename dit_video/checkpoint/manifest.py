"""The manifest of a checkpoint: what it must hold, to the byte, and where in the run it was made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_video import log
from dit_video.errors import CheckpointError

NAME = "manifest.json"
FORMAT = 1
KEYS = {"format", "step", "samples_seen", "fingerprint", "files"}
THREADS = 8
LONG = 4_000_000_000  # bytes from which hashing shows its progress


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: optimizer steps done, samples seen by all ranks, and the dataset's fingerprint."""

    step: int
    samples_seen: int
    fingerprint: str = ""


def write(folder: Path, progress: Progress, files: Mapping[str, Mapping[str, object]]) -> None:
    """Write the manifest of `files` (name, bytes and SHA-256, as `entry` gives them), and sync it and the folder.

    The files themselves are synced by who writes them.
    """
    content = {
        "format": FORMAT,
        "step": progress.step,
        "samples_seen": progress.samples_seen,
        "fingerprint": progress.fingerprint,
        "files": {name: files[name] for name in sorted(files)},
    }
    put(folder / NAME, _text(content | {"sha256": hashlib.sha256(_text(content)).hexdigest()}))
    sync(folder)


def _text(content: Mapping[str, object]) -> bytes:
    """A manifest as it is written; the last entry is the hash of the text without it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def put(path: Path, content: bytes) -> dict[str, object]:
    """Write a small file and sync it; returns its entry."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def verify(folder: Path, *, rank: int = 0, ranks: int = 1) -> dict[str, Any]:
    """The manifest's content; CheckpointError that says what is wrong if any byte differs from it.

    Of `ranks` processes that verify together each reads its share of the files, the first also looks for files that
    are missing or too many; the checkpoint is sound if all of them find their share so.
    """
    content = read(folder)
    files = content["files"]
    if rank == 0 and {path.name for path in folder.iterdir()} - {NAME} != set(files):
        raise CheckpointError(f"checkpoint {folder} does not hold the files of its manifest")
    share = sorted(files, key=lambda name: (-files[name]["bytes"], name))[rank::ranks]
    for name in share:
        path = folder / name
        if not path.is_file() or path.stat().st_size != files[name]["bytes"]:
            raise CheckpointError(f"checkpoint {folder}: {name} has not the size of its manifest")
    total = sum(files[name]["bytes"] for name in share)
    with ThreadPoolExecutor(THREADS) as threads:
        found: Iterable[dict[str, object]] = threads.map(entry, [folder / name for name in share])
        if total > LONG and rank == 0:
            found = log.progress(found, what=f"verifying {folder.name}", total=len(share), unit="file")
        for name, item in zip(share, found, strict=True):
            if item != files[name]:
                threads.shutdown(wait=False, cancel_futures=True)
                raise CheckpointError(
                    f"checkpoint {folder}: {name} is damaged (its SHA-256 differs from the manifest's)"
                )
    return content


def looks_whole(folder: Path) -> bool:
    """Whether the files of the manifest are there in their sizes: enough to count a checkpoint, not to read it."""
    try:
        files = read(folder)["files"]
        return all((folder / name).stat().st_size == item["bytes"] for name, item in files.items())
    except (CheckpointError, OSError):
        return False


def progress(folder: Path) -> Progress:
    """Where the run stood when the checkpoint was made."""
    content = read(folder)
    return Progress(
        step=int(str(content["step"])),
        samples_seen=int(str(content["samples_seen"])),
        fingerprint=str(content["fingerprint"]),
    )


def read(folder: Path) -> dict[str, Any]:
    """The manifest's content, unverified; CheckpointError if there is none."""
    try:
        if not (folder / NAME).is_file():  # a pipe would be waited for
            raise FileNotFoundError
        text = (folder / NAME).read_bytes()
        content = json.loads(text)
    except (OSError, ValueError, RecursionError):
        raise CheckpointError(
            f"{folder} is not a checkpoint (no readable {NAME}); give a folder of RUN/checkpoints"
        ) from None
    if not isinstance(content, dict) or set(content) - {"sha256"} != KEYS:
        raise CheckpointError(f"the manifest of {folder} is incomplete")
    if content.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {folder} has format {content.get('format')}; this version reads {FORMAT}")
    own = content.pop("sha256", None)  # the first manifests had none
    if own and (hashlib.sha256(_text(content)).hexdigest() != own or _text(content | {"sha256": own}) != text):
        raise CheckpointError(f"the manifest of {folder} is damaged")
    files = content["files"]
    if not isinstance(files, dict) or not all(_names_a_file(name, item) for name, item in files.items()):
        raise CheckpointError(f"the manifest of {folder} is incomplete")
    return content


def _names_a_file(name: str, item: object) -> bool:
    """Whether an entry says size and hash of a file that lies in the checkpoint itself."""
    inside = Path(name).name == name and name != NAME
    return inside and isinstance(item, dict) and set(item) == {"bytes", "sha256"} and isinstance(item["bytes"], int)


def sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def entry(path: Path) -> dict[str, object]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
