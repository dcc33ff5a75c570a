"""Small files that are there whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a reader finds no half of it, and a full disk leaves the one before."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
