from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dit_video import checkpoint
from dit_video.errors import ConfigError

SOURCE = Path(checkpoint.__file__).with_name("lock.py")
# The module alone, since its package imports torch.
HOLD = """
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("lock", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.lock(Path(sys.argv[2])):
    if len(sys.argv) > 3 and os.fork() == 0:
        time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(SOURCE), str(folder), *more],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def enter(folder: Path) -> None:
    """Take the lock, and give it back."""
    with checkpoint.lock(folder):
        pass


@pytest.mark.parametrize("more", [(), ("fork",)])
def test_another_process_is_refused_until_the_holder_dies(tmp_path: Path, more: tuple[str, ...]) -> None:
    process = holder(tmp_path / "run", *more)
    try:
        with pytest.raises(ConfigError, match=rf"in use by another train\.py \(process {process.pid} on "):
            enter(tmp_path / "run")
        process.send_signal(signal.SIGKILL)
        process.wait()
        enter(tmp_path / "run")
    finally:
        os.killpg(process.pid, signal.SIGKILL) if more else process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_folder_is_free_afterwards(tmp_path: Path) -> None:
    with pytest.raises(KeyError), checkpoint.lock(tmp_path):
        raise KeyError
    process = holder(tmp_path)
    process.kill()
    process.communicate()


def test_a_folder_that_cannot_be_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/nope")):
        with pytest.raises(ConfigError, match=r"cannot be written to \(.*\); choose another run\.dir"):
            enter(path)
