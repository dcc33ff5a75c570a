"""Files of a dataset, by a local path or by any URL that fsspec knows (http, https, s3, gs, ...).

- A file that is missing is damage, as bytes that differ are. A refused connection, an answer of 5xx or a time-out is
  not: it is tried again, with one line, for `patience` seconds; then the run stops, and the same command goes on.
- Many ranges are asked for at once. Neighbours in a file are one request.
- fsspec has a file system for each process, looked up for every call: a forked worker does not wait for the event loop
  of its parent. The worker holds the parent's all the same: to collect it would close its connections, and so take them
  out of the poll that both share, and the parent would wait for ever.
"""

from __future__ import annotations

import asyncio
import errno
import io
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dit_video import log
from dit_video.errors import DataError, StorageError

PATIENCE = 300.0  # seconds
PAUSES = (0.1, 15.0)  # seconds between tries: the first and the longest
SILENCE = 60.0  # seconds after which a request for few bytes has failed
SLOWEST = 2**18  # bytes per second, on top of SILENCE
UNKNOWN = 2**25  # bytes that a file of unknown size is taken to have
AT_ONCE = 64  # requests of a process
GAP = 2**16  # bytes that may be read for nothing to save a request
AHEAD = 2**23  # bytes of a stream read at once
MERGED = 2**24  # most bytes of neighbours that become one request
MISSING = frozenset({404, 410})
BEYOND = 416  # the status of a range that begins after the end of its file
PASSING = frozenset(
    {errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EHOSTDOWN}
    | {errno.EHOSTUNREACH, errno.ENOTCONN, errno.ECONNRESET}
)  # what network file systems say of their servers, and a process of its limits: not damage
MISTAKES = (TypeError, AttributeError, NotImplementedError, AssertionError)
HELD: set[Any] = set()  # file systems, of this process and of its parents


class DamagedError(DataError):
    """A member whose bytes are missing or differ from the index; its place in the order is kept, with weight 0."""


class MissingError(DamagedError):
    """A file that is not there."""


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end` of a file; by default all of it."""

    path: str
    start: int = 0
    end: int | None = None

    @property
    def bytes(self) -> int:
        """How many are asked for, about."""
        return UNKNOWN if self.end is None else self.end - self.start


def is_local(path: str | Path) -> bool:
    """Whether a path lies on this machine's file systems."""
    return "://" not in str(path) or str(path).startswith("file://")


def local(path: str | Path) -> Path:
    """The path of what `is_local`."""
    return Path(str(path).removeprefix("file://"))


def join(folder: str | Path, *parts: str) -> str:
    """The path or URL of what lies in a folder."""
    return "/".join([str(folder).rstrip("/"), *parts])


def shown(path: str) -> str:
    """A path for a person: a URL without the name and password in it."""
    return re.sub(r"//[^/@]*@", "//", path)


def read(path: str | Path, *, patience: float = PATIENCE) -> bytes:
    """All bytes of a file; MissingError where there is none, StorageError where it cannot be reached."""
    found = fetch([Span(str(path))], patience=patience)[0]
    if isinstance(found, DamagedError):
        raise found
    return found


def stream(path: str | Path) -> BinaryIO:
    """A file to be read once through; MissingError where there is none."""
    try:
        file = local(path).open("rb", buffering=0) if is_local(path) else Remote(str(path))
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file") from error
    return io.BufferedReader(file, AHEAD)


class Remote(io.RawIOBase):
    """A file at a URL."""

    def __init__(self, path: str) -> None:
        self.path, self.at = path, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; MissingError where there is no such file."""
        data = fetch([Span(self.path, self.at, self.at + len(buffer))])[0]
        if isinstance(data, MissingError):
            raise data
        got = b"" if isinstance(data, DamagedError) else data  # it begins after the end
        buffer[: len(got)] = got
        self.at += len(got)
        return len(got)


def exists(path: str | Path, *, patience: float = PATIENCE) -> bool:
    """Whether there is such a file; StorageError where that cannot be told."""
    if is_local(path):
        return local(path).is_file()
    return not isinstance(fetch([Span(str(path), 0, 1)], patience=patience)[0], MissingError)


def fetch(spans: Sequence[Span], *, patience: float = PATIENCE) -> list[bytes | DamagedError]:
    """The bytes of each span, fewer where its file ends early; StorageError where storage does not answer."""
    found: dict[int, bytes | DamagedError] = {
        at: _read_local(span, patience) for at, span in enumerate(spans) if is_local(span.path)
    }
    waiting = [at for at in range(len(spans)) if at not in found]
    tries = Tries(patience=patience)
    while waiting:
        refused: Exception | None = None
        for at, data in zip(waiting, _ask([spans[at] for at in waiting]), strict=True):
            if isinstance(data, bytes | DamagedError):
                found[at] = data
            else:
                refused = data
        waiting = [at for at in waiting if at not in found]
        if refused is not None:
            tries.again(shown(spans[waiting[0]].path), refused)
    tries.over()
    return [found[at] for at in range(len(spans))]


@dataclass
class Tries:
    """How long to go on asking storage that does not answer, from the first time that it does not."""

    patience: float
    started: float | None = None
    pause: float = PAUSES[0]
    what: str = ""

    def again(self, what: str, error: Exception) -> None:
        """Wait a little longer than last time, with one line at the first; StorageError after `patience` seconds."""
        self.started = self.started or time.monotonic()
        waited = time.monotonic() - self.started
        if waited >= self.patience:
            raise StorageError(
                f"{what} could not be read for {waited:.0f} s ({_reason(error)}); nothing is lost: "
                "when it can be reached again, the same command goes on"
            ) from error
        if not self.what:
            text = "%s cannot be read (%s); trying again for up to %.0f s"
            log.get("dit_video.datamodules").warning(text, what, _reason(error), self.patience)
            self.what = what
        time.sleep(min(self.pause * random.uniform(0.5, 1), self.patience - waited))
        self.pause = min(2 * self.pause, PAUSES[1])

    def over(self) -> None:
        """Say that storage answers again, if it did not."""
        if self.started is not None:
            waited = time.monotonic() - self.started
            log.get("dit_video.datamodules").warning("%s can be read again, after %.0f s", self.what, waited)


def _read_local(span: Span, patience: float) -> bytes | DamagedError:
    tries = Tries(patience=patience)
    while True:
        try:
            with local(span.path).open("rb") as file:
                file.seek(span.start)
                data = file.read(-1 if span.end is None else span.end - span.start)
        except OSError as error:
            if error.errno not in PASSING:
                return _damage(span.path, error) or DamagedError(f"{span.path}: {error.strerror}")
            tries.again(span.path, error)
        else:
            tries.over()
            return data


def _ask(spans: Sequence[Span]) -> list[bytes | Exception]:
    """One request for each group of neighbours, all at once: bytes, a DamagedError, or why there is no answer."""
    groups = _neighbours(spans)
    whole = [Span(spans[group[0]].path, spans[group[0]].start, spans[group[-1]].end) for group in groups]
    found: dict[int, bytes | Exception] = {}
    for group, span, data in zip(groups, whole, _request(whole), strict=True):
        for at in group:
            found[at] = data if isinstance(data, Exception) else _cut(data, spans[at], span.start)
    return [found[at] for at in range(len(spans))]


def _cut(data: bytes, span: Span, first: int) -> bytes:
    """A span out of the bytes from `first` on."""
    if span.end is None or (span.start == first and len(data) == span.bytes):
        return data
    return data[span.start - first : span.end - first]


def _neighbours(spans: Sequence[Span]) -> list[list[int]]:
    """Places of the spans that one request can serve, in the order of the bytes."""
    groups: list[list[int]] = []
    for at in sorted(range(len(spans)), key=lambda at: (spans[at].path, spans[at].start, spans[at].end or 0)):
        span, last = spans[at], spans[groups[-1][-1]] if groups else None
        near = (
            last is not None
            and last.path == span.path
            and last.end is not None
            and span.end is not None
            and last.end <= span.start <= last.end + GAP
            and span.end - spans[groups[-1][0]].start <= MERGED
        )
        if near:
            groups[-1].append(at)
        else:
            groups.append([at])
    return groups


def _request(spans: Sequence[Span]) -> list[bytes | Exception]:
    """Bytes of each span, or what kept them away."""
    found: dict[int, bytes | Exception] = {}
    places: dict[Any, dict[int, str]] = {}
    for at, span in enumerate(spans):
        filesystem, place = _filesystem(span.path)
        places.setdefault(filesystem, {})[at] = place
    for filesystem, asked in places.items():
        for at, answer in zip(asked, _ranges(filesystem, spans, asked), strict=True):
            found[at] = _judged(spans[at], answer)
    return [found[at] for at in range(len(spans))]


def _ranges(filesystem: Any, spans: Sequence[Span], places: Mapping[int, str]) -> list[Any]:
    """Bytes or an error for each place of a span, by its number."""
    if filesystem.async_impl:
        from fsspec.asyn import sync

        return list(sync(filesystem.loop, _together, filesystem, [(spans[at], place) for at, place in places.items()]))
    bounds = [(place, *_bounds(spans[at])) for at, place in places.items()]
    return [filesystem.cat_ranges([place], [start], [end], on_error="return")[0] for place, start, end in bounds]


async def _together(filesystem: Any, asked: Sequence[tuple[Span, str]]) -> list[Any]:
    """Ranges asked for at once, each with a time-out of its own."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(span: Span, place: str) -> Any:
        start, end = _bounds(span)
        async with gate, asyncio.timeout(SILENCE + span.bytes / SLOWEST):
            return await filesystem._cat_file(place, start=start, end=end)

    return await asyncio.gather(*(one(span, place) for span, place in asked), return_exceptions=True)


def _bounds(span: Span) -> tuple[int | None, int | None]:
    """Start and end as fsspec wants them: without any for a whole file, which may be empty."""
    return (span.start or None, None) if span.end is None else (span.start, span.end)


def _filesystem(path: str) -> tuple[Any, str]:
    """What fsspec reads a URL with, and its place there; DataError where it cannot."""
    import fsspec

    try:
        filesystem, place = fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise DataError(f"{shown(path)} needs a package: {error}") from error
    except ValueError as error:
        raise DataError(f"{shown(path)} cannot be read: {error}; give a folder or a URL that fsspec knows") from error
    HELD.add(filesystem)
    return filesystem, place


def _judged(span: Span, answer: Any) -> bytes | Exception:
    """An answer as bytes, as damage, or as what may pass."""
    if isinstance(answer, MISTAKES):
        raise answer
    if isinstance(answer, Exception):
        return _damage(span.path, answer) or answer
    if span.end is not None and len(answer) > span.bytes:
        raise StorageError(f"the server of {shown(span.path)} ignores ranges; another one must serve the dataset")
    return bytes(answer)


def _damage(path: str, error: Exception) -> DamagedError | None:
    """The damage that an error tells of, if it does."""
    status = _status(error)
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) or status in MISSING:
        return MissingError(f"{shown(path)}: no such file")
    if status == BEYOND:
        return DamagedError(f"{shown(path)}: it ends before the asked bytes")
    return None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error of aiohttp (http), botocore (s3) or gcsfs (gs)."""
    if error is None:
        return None
    response = getattr(error, "response", None)
    about = response.get("ResponseMetadata", {}) if isinstance(response, Mapping) else {}
    found = about.get("HTTPStatusCode") or getattr(error, "status", None) or getattr(error, "code", None)
    return found if isinstance(found, int) else _status(error.__cause__)


def _reason(error: Exception) -> str:
    """Why storage did not answer, in a few words."""
    if isinstance(error, TimeoutError):
        return "it takes too long"
    status = _status(error)
    text = f"{status} {getattr(error, 'message', error)}" if status else str(error)
    return " ".join(text.split()) or type(error).__name__
