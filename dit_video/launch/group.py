"""The processes of the ranks that one command starts: begun together, heard, signalled and ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from dit_video.launch import cause, heartbeat, report
from dit_video.launch.cause import Cause
from dit_video.launch.heartbeat import RANK, WATCH, Beat

SET_PARENT_DEATH_SIGNAL = 1  # of prctl
KEPT = 300  # lines of a rank's output


class Voice:
    """What a rank writes, passed on: as it is for the first, with its number before each line for the others."""

    def __init__(self, pipe: IO[bytes] | None, *, prefix: bytes) -> None:
        self.pipe, self.prefix = pipe, prefix
        self.rest = b""
        self.lines: deque[bytes] = deque(maxlen=KEPT)
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)

    def pass_on(self) -> None:
        """Write on what has come, without waiting for more."""
        while self.pipe is not None and (data := self.read()) is not None:
            *whole, self.rest = (self.rest + data).split(b"\n")
            self.lines.extend(whole)
            show(b"".join(self.prefix + line + b"\n" for line in whole) if self.prefix else data)

    def read(self) -> bytes | None:
        """Some bytes, or None if there are none now; a pipe at its end is closed."""
        assert self.pipe is not None
        try:
            data = os.read(self.pipe.fileno(), 65536)
        except BlockingIOError:
            return None
        if not data:
            self.close()
        return data or None

    def close(self) -> None:
        """Show a last line without an end, and listen no more."""
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
            if self.prefix and self.rest:
                show(self.prefix + self.rest + b"\n")
            self.lines.append(self.rest)

    def text(self) -> str:
        """The last lines."""
        return b"\n".join(self.lines).decode(errors="replace")


def show(data: bytes) -> None:
    """Write to standard error, whole, if there is anyone who reads it."""
    with suppress(OSError):
        while data:
            data = data[os.write(2, data) :]


class Rank:
    """One process, the leader of a session of its own: ctrl-C reaches the parent alone."""

    def __init__(
        self, number: int, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, first: bool
    ) -> None:
        self.number, self.folder = number, folder
        terminal = first and os.isatty(2)  # a progress line needs the terminal itself
        self.process = subprocess.Popen(
            command,
            env={**environment, WATCH: str(folder), RANK: str(number)},
            stdin=subprocess.DEVNULL,
            stdout=None if first else subprocess.PIPE,
            stderr=subprocess.STDOUT if not first else None if terminal else subprocess.PIPE,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), libc()),  # noqa: PLW1509 - the parent has one thread
        )
        self.voice = Voice(
            self.process.stderr if first else self.process.stdout,
            prefix=b"" if first else f"[rank {number}] ".encode(),
        )
        self.ended = 0.0
        self.killed = False

    @property
    def code(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self.process.returncode

    def beat(self) -> Beat:
        """What it last marked."""
        return heartbeat.read(heartbeat.beat_file(self.folder, self.number))

    def poll(self) -> None:
        """Pass on its output, and note its end; what it has started ends with it."""
        self.voice.pass_on()
        if not self.ended and self.gone():
            self.ended = time.time()
            self.kill_all()
            self.process.wait()
            self.voice.pass_on()
            self.voice.close()

    def gone(self) -> bool:
        """Whether it has ended; it stays a zombie, so that its number is no other's while its children are killed."""
        if self.ended or not hasattr(os, "waitid"):
            return bool(self.ended) or self.process.poll() is not None
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """End it for the sake of others, unless it has failed by itself."""
        self.killed = not self.gone() and report.read(self.folder, self.number) is None
        self.kill_all()

    def kill_all(self) -> None:
        """SIGKILL to it and all that it has started, loader workers too."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal to it alone, if it lives."""
        if not self.ended:
            os.kill(self.process.pid, number)

    def cause(self) -> Cause | None:
        """Why it ended, or is about to; None while it goes on, or where it was killed for another."""
        if self.killed or (not self.ended and report.read(self.folder, self.number) is None):
            return None
        at = self.ended or time.time()
        return cause.of(self.folder, rank=self.number, code=self.code, time=at, said=self.voice.text())


class Group:
    """All ranks that this command starts, in one attempt."""

    def __init__(self, ranks: list[Rank]) -> None:
        self.ranks = ranks

    @property
    def living(self) -> list[Rank]:
        """Those that have not ended."""
        return [rank for rank in self.ranks if not rank.ended]

    def poll(self) -> None:
        """Take note of what has happened."""
        for rank in self.ranks:
            rank.poll()

    def send(self, number: signal.Signals) -> None:
        """A signal to every rank."""
        for rank in self.living:
            rank.send(number)

    def kill(self, *, seconds: float = 60.0) -> bool:
        """End all that still live; whether they are gone, which the kernel refuses while it waits for a device."""
        for rank in self.living:
            rank.kill()
        until = time.monotonic() + seconds
        while self.living and time.monotonic() < until:
            time.sleep(0.005)
            self.poll()
        return not self.living

    @property
    def saving(self) -> bool:
        """Whether a rank that has failed waits for the save of a sound step."""
        failed = [rank for rank in self.living if report.read(rank.folder, rank.number) is not None]
        return any(rank.beat().phase == "save" for rank in failed)

    def causes(self) -> list[Cause]:
        """Why the ranks ended that were not killed for another."""
        return [found for rank in self.ranks if (found := rank.cause()) is not None]

    def told(self) -> Cause | None:
        """What a rank has written down of its own failure, however late; None where none has, or for another's sake."""
        written = [item for item in self.causes() if report.read(self.ranks[0].folder, item.rank or 0) is not None]
        return cause.first([item for item in written if item.kind != "consequence"])

    def pipes(self) -> list[int]:
        """What to listen to."""
        return [rank.voice.pipe.fileno() for rank in self.ranks if rank.voice.pipe is not None]


def libc() -> ctypes.CDLL | None:
    """What `die_with_parent` needs, to be had before the child is there."""
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int, libc: ctypes.CDLL | None) -> None:
    """In the child, before all else: the kernel kills it when the parent is gone, however that ends."""
    if libc is not None:
        libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
