from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dit_video import checkpoint
from dit_video.errors import ConfigError
from dit_video.launch import shared

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


def holder(folder: Path, *more: str, start: str = "") -> subprocess.Popen[str]:
    """Another process that holds the folder, of the start `start` of a job."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(SOURCE), str(folder), *more],
        env={**os.environ, shared.ATTEMPT: start},
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


@pytest.mark.parametrize(
    ("theirs", "ours"), [("", "41-1"), ("41-1", "41-1"), ("41-2", "41-1"), ("40-0", "41-1"), ("41-0", "")]
)
def test_only_an_earlier_start_of_the_same_job_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str, ours: str
) -> None:
    process = holder(tmp_path, start=theirs)
    monkeypatch.setenv(shared.ATTEMPT, ours)
    try:
        with pytest.raises(ConfigError, match="in use"):
            enter(tmp_path)
    finally:
        process.kill()
        process.communicate()


def test_an_earlier_start_of_the_same_job_has_time_to_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = holder(tmp_path, start="attempts/41-0")
    monkeypatch.setenv(shared.ATTEMPT, "attempts/41-1")
    ending = threading.Timer(1.5, process.kill)
    ending.start()
    enter(tmp_path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL  # not before
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"waiting for process {process.pid} on ")
    assert (tmp_path / ".lock").read_text().endswith(" of job 41-1\n")


def test_a_lock_that_outlives_its_start_does_not_end_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = holder(tmp_path, start="attempts/41-0")
    monkeypatch.setenv(shared.ATTEMPT, "attempts/41-1")
    try:
        with checkpoint.lock(tmp_path, patience=0.0):
            assert (tmp_path / ".lock").read_text().endswith(" of job 41-1\n")
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert "may save no more" in caplog.text
