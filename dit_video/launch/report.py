"""What a rank fails of, written down by itself before it ends: type, message, traceback, time, whose fault it is."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dit_video import whole
from dit_video.config import mistakes
from dit_video.errors import NodeError
from dit_video.launch import heartbeat
from dit_video.signals import BAD_NODE

SAVING = 300.0  # seconds that a rank which has failed may wait for a save that was under way
Kind = Literal["mistake", "exception", "memory", "consequence", "node"]
PEER = re.compile(
    r"closed by peer|reset by (the )?peer|Broken pipe|Connection refused|Connection timed out|was likely closed|"
    r"remote process exited|communicator was aborted|pair closure|Socket Timeout|Timed out waiting \d+ ?ms|"
    r"wait timeout after|client socket has timed out|recvValue failed|sendBytes failed|collective operation timeout|"
    r"failed to connect|Connection was closed",
    flags=re.IGNORECASE,
)
MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory|bad_alloc", flags=re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One failure, as the rank knows it; `time` in seconds since 1970, `text` one line."""

    rank: int
    host: str
    time: float
    kind: Kind
    name: str
    text: str
    traceback: str


def record_file(folder: Path, rank: int) -> Path:
    """Where a rank writes it."""
    return folder / f"rank-{rank}.error"


def write(error: BaseException) -> None:
    """Keep the first failure of this rank, where a parent watches; what ends a process by intent is none."""
    heart = heartbeat.own()
    if heart is None or not isinstance(error, Exception) or record_file(heart.folder, heart.rank).exists():
        return
    whole.write(record_file(heart.folder, heart.rank), json.dumps(asdict(of(error, rank=heart.rank))))
    heart.mark("failed")


def of(error: BaseException, *, rank: int) -> Record:
    """The record of an error."""
    mistake = mistakes.mistake(error)
    shown = error if mistake is None else mistake
    try:
        lines = "".join(traceback.format_exception(error))
    except MemoryError:
        lines = ""
    return Record(
        rank=rank,
        host=socket.gethostname(),
        time=time.time(),
        kind=kind(error),
        name=type(shown).__name__,
        text=mistakes.line(shown),
        traceback=lines,
    )


def kind(error: BaseException) -> Kind:
    """Whose fault an error is: that of another rank where any in its chain says that a connection ended."""
    chain = mistakes.chain(error)
    if any(_of_torch(item) and PEER.search(str(item)) for item in chain):
        return "consequence"
    if mistakes.mistake(error) is not None:
        return "mistake"
    if any(isinstance(item, NodeError) for item in chain):
        return "node"
    if any(isinstance(item, MemoryError) or (_of_torch(item) and MEMORY.search(str(item))) for item in chain):
        return "memory"
    return "exception"


def _of_torch(error: BaseException) -> bool:
    """Whether torch may have raised it; a data source's ConnectionError is another matter."""
    return type(error) is RuntimeError or type(error).__module__.split(".")[0] == "torch"


def read(folder: Path, rank: int) -> Record | None:
    """What a rank has written, if it has."""
    path = record_file(folder, rank)
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


@contextmanager
def reporting(*, debug: bool = False) -> Iterator[None]:
    """In a rank: write down what the block fails of, and end quietly, as the parent tells it once for all ranks.

    With `debug`, tracebacks are shown by every rank.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(mistakes.INTERRUPTED) from None
    except (SystemExit, BrokenPipeError):
        raise
    except Exception as error:
        write(error)
        if debug:
            raise
        sys.stdout.flush()
        _end({"mistake": mistakes.USER_ERROR, "node": BAD_NODE}.get(kind(error), 1))
    finally:
        heartbeat.mark("end")  # the thread beats no more when the interpreter ends


def _end(code: int) -> None:
    """End at once: after a failure, what threads and groups do at exit may wait for ranks that are gone."""
    sys.stderr.flush()
    os._exit(code)
