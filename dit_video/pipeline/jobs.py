"""What is asked for, before any of it is read: one job from the command line, or one a line of a file of prompts."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video.config import nearest
from dit_video.errors import RequestError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = ("prompt", "image", "video", "extend", "size", "name")
KEYS = (*TEXTS, "seconds", "seed", "about")
ODD = re.compile("[\0\ud800-\udfff]")  # in no text and no name of a file


@dataclass(frozen=True, kw_only=True)
class Job:
    """One video that is asked for.

    `name` is its file in the folder `out`; `place` says where it was asked for, in messages.
    """

    prompt: str
    image: str | None = None
    video: str | None = None
    extend: str | None = None
    size: str | None = None
    seconds: float = 1.0
    seed: int = 0
    name: str = ""
    place: str = ""

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Say of a mistake within on which line of which file it stands."""
        try:
            yield
        except UserError as error:
            if not self.place:
                raise
            raise RequestError(f"{self.place}: {error}") from error


def read_jobs(file: Path, first: Job) -> list[Job]:
    """Jobs of a file with a prompt a line, or of a .jsonl file with an object a line, each like `first` where its line
    says nothing else. Empty lines are none; the seed is counted up from `first`'s.

    An object may have the keys of `Job`, null standing for the default, and `about`, which is for others to read.
    """
    jobs: list[Job] = []
    for number, line in _lines(file):
        count, place = len(jobs), f"prompts={file} line {number}"
        mine = _keys(line, place=place) if file.suffix.lower() == ".jsonl" else {"prompt": line}
        job = replace(first, **{"seed": first.seed + count, "name": "", "place": place} | mine)
        jobs.append(job if job.name else replace(job, name=f"{count:05d}{'.mp4' if job.seconds else '.png'}"))
    if not jobs:
        raise RequestError(f"prompts={file} is empty; expected one prompt a line")
    return jobs


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that say something, with their numbers from 1; only a line feed ends a line."""
    if not file.is_file() or file.suffix.lower() == ".json":
        what = "is no file of lines" if file.is_file() else "is no file"
        raise RequestError(f"prompts={file} {what}; expected one prompt a line, or a .jsonl file with an object a line")
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if "\0" in text:
                    raise RequestError(f"prompts={file} line {number} is no text; expected UTF-8, one prompt a line")
                if text:
                    yield number, text
    except UnicodeDecodeError as error:
        raise RequestError(f"prompts={file} line {number} is no text; expected UTF-8, one prompt a line") from error
    except OSError as error:
        raise RequestError(f"prompts={file} cannot be read: {error.strerror}") from error


def _keys(line: str, *, place: str) -> dict[str, Any]:
    """The settings of a line of JSON; RequestError that names the key at fault."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RequestError(f'{place} is no JSON object; expected {{"prompt": "...", ...}}')
    for key, value in found.items():
        if key not in KEYS:
            raise RequestError(f"{place} has a key {key[:40]!r}; {nearest(key, KEYS)}")
        if value is not None and (expected := _mismatch(key, value)):
            raise RequestError(f"{place}: {key} must be {expected}, got {json.dumps(value)[:40]}")
    mine = {key: value for key, value in found.items() if value is not None and key != "about"}
    if "prompt" not in mine:
        raise RequestError(f'{place} has no prompt; expected {{"prompt": "...", ...}}')
    return mine


def _mismatch(key: str, value: object) -> str | None:
    """What was expected instead, if the value has another type."""
    if key in TEXTS:
        return None if isinstance(value, str) and not ODD.search(value) else "text"
    if key == "seed":
        return None if isinstance(value, int) and not isinstance(value, bool) else "an integer"
    if key == "seconds":
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    return None
