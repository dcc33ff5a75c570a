from __future__ import annotations

import threading

import pytest

from datamodules.loading.pipe import pipe

LARGE = 5_000_000  # bytes: far more than a socket holds


class TooLongError(TimeoutError):
    pass


def impatient(seconds: float) -> None:
    if seconds > 0.1:
        raise TooLongError


@pytest.mark.parametrize("message", [b"", b"abc", bytes(range(250)) * (LARGE // 250)])
def test_messages_arrive_whole_and_in_order(message: bytes) -> None:
    mine, its = pipe(tick=5.0)
    sender = threading.Thread(target=lambda: [its.send(message), its.send(b"next"), its.close()])
    sender.start()
    assert [mine.receive(), mine.receive()] == [message, b"next"]
    sender.join()
    with pytest.raises(EOFError):
        mine.receive()
    mine.close()


@pytest.mark.parametrize("said", [b"", b"\x08\0\0\0\0\0\0\0half"])
def test_whoever_waits_is_told_also_in_the_midst_of_a_message(said: bytes) -> None:
    mine, its = pipe(tick=0.02)
    its.end.sendall(said)
    with pytest.raises(TooLongError):
        mine.receive(silent=impatient)
    with pytest.raises(TooLongError):
        mine.send(bytes(LARGE), silent=impatient)
    its.close()
    mine.close()


def test_a_pipe_that_is_closed_in_the_midst_of_a_message_is_at_its_end() -> None:
    mine, its = pipe(tick=5.0)
    its.end.sendall(b"\x08\0\0\0\0\0\0\0half")
    its.close()
    with pytest.raises(EOFError):
        mine.receive()
    with pytest.raises(EOFError):
        mine.send(b"x")
    mine.close()
