"""Files of a run that may still be written, or whose writer was killed: what is whole is read, the rest is told of.

Every function hands what it could not read, in a line, to `said`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Said = Callable[[str], None]
TAIL = 32_768  # bytes of metrics.csv that a list reads
LAST = 50  # steps of it, over which rates and losses are taken
SHOWN = ("step", "samples_seen", "seconds", "loss", "samples_per_second", "tokens_per_second", "frames_per_second")
LONG = 4_000_000  # bytes up to which a table is read whole
PIECES = 64  # of a longer one


@dataclass(frozen=True)
class Rows:
    """Steps of a metrics.csv in order, as numbers by column; a figure that a step has not is not there."""

    steps: Sequence[Mapping[str, float]] = ()

    def column(self, name: str) -> list[float]:
        """The figures of one column, where there are some."""
        return [row[name] for row in self.steps if name in row]

    def last(self, *names: str) -> float | None:
        """The newest figure of the first column of `names` that has any."""
        return next((found[-1] for name in names if (found := self.column(name))), None)


def tail(path: Path, *, said: Said) -> Rows:
    """The last rows of a metrics.csv, with the figures that a list shows."""
    return _rows(path, said=said, spans=lambda size: [(max(size - TAIL, 0), size)], most=LAST, only=SHOWN)


def spread(path: Path, *, said: Said, whole: int = LONG) -> Rows:
    """All rows of a metrics.csv, or of a longer one than `whole` bytes those of some places along it."""
    step = TAIL // 4

    def spans(size: int) -> list[tuple[int, int]]:
        if size <= whole:
            return [(0, size)]
        first = [round(at * (size - step) / (PIECES - 1)) for at in range(PIECES)]
        return [(begin, begin + step) for begin in first]

    return _rows(path, said=said, spans=spans)


def _rows(
    path: Path,
    *,
    said: Said,
    spans: Callable[[int], list[tuple[int, int]]],
    most: int | None = None,
    only: Collection[str] | None = None,
) -> Rows:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            header = file.readline(TAIL)
            columns = header.decode("utf-8", errors="replace").rstrip("\r\n").split(",")
            lines: list[bytes] = []
            for begin, end in spans(size):
                file.seek(max(begin, len(header)))
                found = file.read(max(end - file.tell(), 0)).split(b"\n")
                cut, rest = found[begin > len(header) :], end < size
                lines += cut[:-1] if rest or (cut and not cut[-1]) else cut
                if not rest and cut and cut[-1]:
                    said(f"{path} ends in half a line, which is left out")
                    lines.pop()
    except FileNotFoundError:
        return Rows()
    except OSError as error:
        said(f"{path} cannot be read ({error.strerror})")
        return Rows()
    if size and (not header.endswith(b"\n") or "step" not in columns):
        said(f"{path} has no line of columns; it is left out")
        return Rows()
    wanted = [(at, name) for at, name in enumerate(columns) if only is None or name in only]
    read = [_row(line, wanted=wanted, columns=len(columns)) for line in lines[-most if most else 0 :]]
    whole = [row for row in read if row is not None]
    if len(whole) < len(read):
        said(f"{path} has {len(read) - len(whole)} damaged line(s), which are left out")
    return Rows(whole)


def _row(line: bytes, *, wanted: Sequence[tuple[int, str]], columns: int) -> dict[str, float] | None:
    """The figures of a line by their places; None for one that is damaged."""
    cells = line.rstrip(b"\r").split(b",")
    if len(cells) != columns:
        return None
    try:
        found = {name: float(cells[at]) for at, name in wanted if cells[at]}
    except ValueError:
        return None
    return found if math.isfinite(found.get("step", math.nan)) else None


def objects(path: Path, *, said: Said) -> list[dict[str, Any]]:
    """The objects of a file that has one a line (.jsonl)."""
    text = text_of(path, said=said)
    found, wrong = [], 0
    for line in (text or "").splitlines():
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                found.append(value)
            else:
                wrong += 1
    if wrong:
        said(f"{path} has {wrong} damaged or half-written line(s), which are left out")
    return found


def one(path: Path, *, said: Said) -> dict[str, Any]:
    """The object that is a whole JSON file; an empty one where there is none."""
    text = text_of(path, said=said)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        said(f"{path} is damaged or half written; it is left out")
        return {}
    return value


def text_of(path: Path, *, said: Said) -> str | None:
    """The text of a small file, or None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    except OSError as error:
        said(f"{path} cannot be read ({error.strerror})")
        return None
