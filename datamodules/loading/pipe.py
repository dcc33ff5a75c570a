"""Messages between two processes: whoever waits for the other end, to read or to write, is told for how long."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable

HEAD = struct.Struct("<Q")  # bytes of the message that follows

Silent = Callable[[float], object]
"""Told, now and then, for how many seconds nothing has passed; what it raises, whoever waits does"""


class Pipe:
    """An end of a pair of sockets. `tick` is how many seconds of a wait pass before `silent` is told; None is never."""

    def __init__(self, end: socket.socket, *, tick: float | None = None) -> None:
        end.settimeout(tick)
        self.end, self.tick = end, tick or 0.0

    def send(self, message: bytes, *, silent: Silent = bool) -> None:
        """All of a message; EOFError where the other end is closed."""
        for part in (HEAD.pack(len(message)), message):
            left = memoryview(part)
            while left:
                left = left[self.waited(lambda left=left: self.end.send(left), silent) :]  # type: ignore[misc]

    def free(self) -> bool:
        """Whether a message of some ten thousand bytes goes out at once: the other end has read most of the others."""
        found = select.poll()
        found.register(self.end, select.POLLOUT)
        return bool(found.poll(0))

    def receive(self, *, silent: Silent = bool) -> bytearray:
        """The next message; EOFError where the other end is closed, also in the midst of it."""
        (size,) = HEAD.unpack(self.read(HEAD.size, silent))
        return self.read(size, silent)

    def read(self, size: int, silent: Silent) -> bytearray:
        """So many bytes."""
        found = bytearray(size)
        left = memoryview(found)
        while left:
            count = self.waited(lambda left=left: self.end.recv_into(left), silent)  # type: ignore[misc]
            if not count:
                raise EOFError
            left = left[count:]
        return found

    def waited(self, step: Callable[[], int], silent: Silent) -> int:
        """The bytes that `step` moves, as soon as any can be."""
        waited = 0.0
        while True:
            try:
                return step()
            except TimeoutError:
                waited += self.tick
                silent(waited)
            except OSError as error:
                raise EOFError from error

    def close(self) -> None:
        """Close this end."""
        self.end.close()


def pipe(*, tick: float) -> tuple[Pipe, Pipe]:
    """Two ends; he who has the first is told of silence every `tick` seconds, the other waits without an end."""
    mine, its = socket.socketpair()
    return Pipe(mine, tick=tick), Pipe(its)
