"""Memory is that of the whole tree of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.quickstart import memory

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="the kernel does not tell")
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


def test_children_of_children_are_family(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    members = memory.family(os.getpid())
    assert members[0] == os.getpid()
    assert len({child.pid, *memory.family(child.pid)} & set(members)) == 2
    assert all(memory.held(member) > 1_000_000 for member in (os.getpid(), child.pid))
    child.communicate(b"\n")
    assert child.pid not in memory.family(os.getpid())
    assert memory.held(child.pid) == 0


def test_the_peak_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "EVERY", 0.02)
    with memory.Watch() as before:
        pass
    with memory.Watch() as watch:
        block = bytearray(os.urandom(1)) * 80_000_000
        watch.over.wait(0.2)
        del block
    assert 60e6 < watch.peak - before.peak < 200e6
