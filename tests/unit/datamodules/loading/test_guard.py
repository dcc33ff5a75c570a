from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datamodules.loading.guard import Guard, culprits
from dit_video.launch import heartbeat

ROOT = Path(__file__).resolve().parents[4]


def hang(guard: Guard) -> None:
    """As a decoder in C: Python runs no handler meanwhile."""
    with guard.sample():
        ctypes.PyDLL(None).sleep(30)


def crash() -> None:
    faulthandler.disable()
    ctypes.string_at(0)


def eat() -> None:
    np.ones(2**30, np.uint8)


def wrong() -> None:
    raise RuntimeError("a bug")


def test_samples_that_end_their_process_are_told_from_the_rest(capfd: pytest.CaptureFixture[str]) -> None:
    guard = Guard(seconds=0.2, memory_gb=0.5)
    since = time.monotonic()
    work: dict[int, Callable[[], object]] = {1: int, 4: partial(hang, guard), 7: crash, 8: eat, 9: wrong}
    found = culprits(work, guard)
    assert time.monotonic() - since < 20
    assert found == {
        4: "decoding it took more than 0.2 seconds",
        7: "decoding it ended its process (SIGSEGV)",
        8: "decoding it took more than 0.5 GB of memory",
    }
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL])
def test_what_comes_from_outside_is_no_sample_s_fault(number: signal.Signals) -> None:
    done = mp.get_context("fork").Event()

    def load() -> None:
        os.kill(os.getpid(), number)
        done.set()

    assert culprits({1: load}, Guard()) == {}
    assert done.is_set() == (number != signal.SIGKILL), "a signal to stop is for the run to heed"


def test_a_system_that_has_no_process_to_give_is_no_sample_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert culprits({1: int}, Guard()) == {}


def test_each_sample_that_is_tried_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heart = heartbeat.Heartbeat(tmp_path, rank=0)
    heart.mark("step", 3)
    monkeypatch.setattr(heartbeat, "_OWN", [heart])
    culprits(dict.fromkeys(range(2), int), Guard())
    heart.stacks.close()
    found = heartbeat.read(heartbeat.beat_file(tmp_path, 0))
    assert (found.marks, found.phase, found.step) == (5, "step", 3)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends them")
def test_a_process_of_a_sample_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    program = f"""
        import os, time
        from pathlib import Path
        from datamodules.loading.guard import Guard, culprits
        def load():
            Path({str(tmp_path)!r}, "new").write_text(str(os.getpid()))
            Path({str(tmp_path)!r}, "new").rename(Path({str(tmp_path)!r}, "pid"))
            time.sleep(60)
        culprits({{1: load}}, Guard())
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT)
    until = time.monotonic() + 30
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    run.kill()
    run.wait()
    while lives(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not lives(pid)


def lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_outside_of_a_loader_process_nothing_is_limited() -> None:
    guard = Guard(seconds=0.01)
    with guard.sample():
        time.sleep(0.05)
