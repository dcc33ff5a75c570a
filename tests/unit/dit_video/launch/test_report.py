"""Whose fault an error is, and what is written down of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from dit_video.errors import CheckpointError, ConfigError
from dit_video.launch import heartbeat, report
from dit_video.launch.heartbeat import Heartbeat

CLOSED = "[../third_party/gloo/gloo/transport/tcp/pair.cc:545] Connection closed by peer [127.0.0.1]:3"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this process is rank 2."""
    heart = Heartbeat(tmp_path, rank=2)
    monkeypatch.setattr(heartbeat, "_OWN", [heart])
    yield tmp_path
    heart.stacks.close()


def caused(error: Exception, by: Exception) -> Exception:
    """An error that another one led to."""
    error.__cause__ = by
    return error


DistBackendError = type("DistBackendError", (RuntimeError,), {"__module__": "torch.distributed"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("boom"), "exception"),
        (RuntimeError(CLOSED), "consequence"),
        (RuntimeError("[unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation"), "consequence"),
        (RuntimeError("DataLoader timed out after 60 seconds"), "exception"),
        (DistBackendError("NCCL error: remote process exited or there was a network error"), "consequence"),
        (caused(CheckpointError("it was not saved"), RuntimeError(CLOSED)), "consequence"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "exception"),  # of a data source
        (ConfigError("x is 3; set it to 4"), "mistake"),
        (caused(RuntimeError("loader"), ConfigError("x is 3")), "mistake"),
        (OSError(errno.ENOSPC, "No space left on device"), "mistake"),
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "memory"),
    ],
    ids=str,
)
def test_whose_fault(error: Exception, kind: str) -> None:
    assert report.kind(error) == kind


def test_the_first_failure_is_kept(folder: Path) -> None:
    for text in ("one", "two"):
        with pytest.raises(KeyError) as raised:
            raise KeyError(text)
        report.write(raised.value)
    record = report.read(folder, 2)
    assert record is not None
    assert (record.rank, record.name, record.text) == (2, "KeyError", "'one'")
    assert "test_the_first_failure_is_kept" in record.traceback
    assert heartbeat.read(heartbeat.beat_file(folder, 2)).phase == "failed"


@pytest.mark.parametrize("error", [SystemExit(75), KeyboardInterrupt()])
def test_an_end_by_intent_is_none(folder: Path, error: BaseException) -> None:
    report.write(error)
    assert report.read(folder, 2) is None


def test_a_block_that_ends_well_says_so(folder: Path) -> None:
    with pytest.raises(SystemExit), report.reporting():
        raise SystemExit(75)
    assert report.read(folder, 2) is None
    assert heartbeat.read(heartbeat.beat_file(folder, 2)).phase == "end"


def test_ctrl_c_before_anyone_listens_is_its_exit_code(folder: Path) -> None:
    with pytest.raises(SystemExit) as raised, report.reporting():
        raise KeyboardInterrupt
    assert raised.value.code == 130


def test_with_debug_the_traceback_is_shown_too(folder: Path) -> None:
    with pytest.raises(ConfigError), report.reporting(debug=True):
        raise ConfigError("x is 3")
    record = report.read(folder, 2)
    assert record is not None
    assert record.kind == "mistake"
