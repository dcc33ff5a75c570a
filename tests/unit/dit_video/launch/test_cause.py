"""Why a rank ended, and which of several ends decides."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dit_video.launch import cause, heartbeat, report
from dit_video.launch.cause import Cause
from dit_video.launch.heartbeat import Beat, Heartbeat

RECORD = report.Record(
    rank=1, host="h", time=5.0, kind="exception", name="KeyError", text="'x'", traceback="Traceback: all of it"
)


def of(folder: Path, code: int | None, *, said: str = "") -> Cause:
    """The cause of rank 1's end in step 4."""
    heart = Heartbeat(folder, rank=1)
    heart.mark("step", 4)
    heart.stacks.close()
    return cause.of(folder, rank=1, code=code, time=9.0, said=said)


def written(folder: Path, record: report.Record) -> Path:
    """A folder in which rank 1 has written down what it fails of."""
    report.record_file(folder, 1).write_text(json.dumps(asdict(record)), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("code", "kind", "name", "own"),
    [
        (0, "done", "exit code 0", 0),
        (2, "mistake", "exit code 2", 2),
        (75, "stop", cause.AGREED, 75),
        (130, "stop", cause.AGREED, 130),
        (3, "exit", "exit code 3", 3),
        (-signal.SIGTERM, "stop", "alone", 75),
        (-signal.SIGINT, "stop", "alone", 130),
        (-signal.SIGKILL, "signal", "SIGKILL", 137),
        (-signal.SIGSEGV, "signal", "SIGSEGV", 139),
        (-signal.SIGRTMIN - 1, "signal", f"signal {signal.SIGRTMIN + 1}", 129 + signal.SIGRTMIN),
    ],
)
def test_by_its_exit_code(tmp_path: Path, code: int, kind: str, name: str, own: int) -> None:
    found = of(tmp_path, code)
    assert (found.kind, found.name, found.code) == (kind, name, own)
    assert found.kind in {"done", "stop"} or "in step 4" in found.text


def test_what_it_has_written_down_counts_more(tmp_path: Path) -> None:
    for code in (None, 1, -signal.SIGABRT):
        found = of(written(tmp_path, RECORD), code)
        assert (found.kind, found.time, found.code) == ("exception", 5.0, 1)
        assert found.text == "failed in step 4: KeyError: 'x'"


def test_a_mistake_is_told_in_its_own_words(tmp_path: Path) -> None:
    found = of(written(tmp_path, replace(RECORD, kind="mistake", text="x is 3; set it to 4")), None)
    assert (found.text, found.code) == ("x is 3; set it to 4", 2)


def test_an_abort_for_a_peer_is_a_consequence(tmp_path: Path) -> None:
    said = "terminate called after throwing an instance of 'c10::DistBackendError': NCCL communicator was aborted"
    assert of(tmp_path, -signal.SIGABRT, said=said).kind == "consequence"
    assert of(tmp_path, -signal.SIGABRT, said="free(): invalid pointer").kind == "signal"


def test_a_crash_shows_its_stack(tmp_path: Path) -> None:
    text = 'Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n  File "a", line 1 in b\n'
    heartbeat.stack_file(tmp_path, 1).write_text(text, encoding="utf-8")
    assert of(tmp_path, -signal.SIGSEGV).frames == ("a:1 b",)


def one(kind: str, time: float, code: int = 1) -> Cause:
    """A cause of this kind."""
    return Cause(rank=0, kind=kind, name=kind, text="", code=code, time=time, beat=Beat())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("causes", "decides"),
    [
        ([one("consequence", 1), one("signal", 2), one("exception", 3)], 1),
        ([one("stop", 1), one("exception", 3)], 1),
        ([one("stop", 1), one("mistake", 2), one("consequence", 0)], 1),
        ([one("stop", 1, 75), one("stop", 2, 130), one("done", 0)], 1),
        ([one("consequence", 2), one("consequence", 1)], 1),
        ([one("done", 1)], None),
    ],
)
def test_the_first_failure_decides_and_no_consequence_of_it(causes: list[Cause], decides: int | None) -> None:
    assert cause.first(causes) is (None if decides is None else causes[decides])
