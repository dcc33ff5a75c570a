from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from dit_video import checkpoint
from dit_video.checkpoint.lock import NAME
from dit_video.runs import lock

Hold = Callable[[Path], AbstractContextManager[int]]


def test_it_is_the_lock_that_train_py_takes(tmp_path: Path) -> None:
    assert lock.NAME == NAME
    assert lock.look(tmp_path) is None
    with checkpoint.lock(tmp_path):
        pass
    found = lock.look(tmp_path)
    assert found is not None
    assert found.process == os.getpid()
    assert found.host == os.uname().nodename


def test_a_lock_is_seen_without_taking_it_and_goes_with_its_process(tmp_path: Path, hold: Hold) -> None:
    (tmp_path / lock.NAME).write_text("process 7 on node1\n")
    with hold(tmp_path):
        first, second = lock.look(tmp_path), lock.look(tmp_path)
    after = lock.look(tmp_path)
    assert first is not None
    assert second is not None
    assert after is not None
    assert (first.held, second.held, after.held) == (True, True, False)
    assert (first.process, first.host) == (7, "node1")


def test_a_file_that_says_nothing_is_a_lock_of_nobody(tmp_path: Path) -> None:
    (tmp_path / lock.NAME).write_bytes(b"\xff\x00")
    found = lock.look(tmp_path)
    assert found is not None
    assert (found.held, found.process, found.host) == (False, 0, "")
