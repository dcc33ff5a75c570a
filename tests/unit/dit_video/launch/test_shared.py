"""What the parents of a job tell one another: beginnings and endings of ranks, an alarm, a wish to stop, silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dit_video.config import one_line
from dit_video.errors import DataError
from dit_video.launch import shared
from dit_video.launch.cause import Cause
from dit_video.launch.heartbeat import Beat
from dit_video.launch.shared import Ending, Shared

BEAT = Beat(10, 20, "step", 7, 6)
CAUSE = Cause(rank=1, kind="exception", name="KeyError", text="failed", code=1, time=2.0, beat=BEAT, frames=("a:1 b",))
BEGUN = Ending(rank=1, size=2, node="node1", restarts=3, began=1.0)


def test_an_ending_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "7-0"
    for item in (BEGUN, replace(BEGUN, ended=3.0, detected=2.5, cause=CAUSE, beat=BEAT, frames=("c:2 d",))):
        Shared(attempt=folder).write([item], {1: "all of it"})
        assert shared.read(folder / "rank-1.json") == item
    assert {path.name for path in folder.iterdir()} == {"rank-1.json", "rank-1.txt"}


def test_an_alarm_reaches_the_others_and_stays(tmp_path: Path) -> None:
    one, other = Shared(attempt=tmp_path), Shared(attempt=tmp_path)
    assert not other.look(0.0)
    one.alarm()
    assert not other.look(0.1)  # it looks every two seconds
    assert other.look(3.0) == {"alarm"}
    assert one.look(9.0) == {"alarm"}


@pytest.mark.parametrize(
    ("own", "later"),
    [("7-0", "7-10"), ("7-9", "7-10"), ("7-10", ""), ("8-0", ""), ("77-0", ""), ("test", ""), ("-1", "")],
)
def test_a_later_start_is_of_the_same_job(tmp_path: Path, own: str, later: str) -> None:
    for name in ("7-0", "7-2", "7-10", "7-x", "8-0", "test"):
        (tmp_path / name).mkdir()
    assert shared.later(tmp_path / own) == later
    assert ("later" in Shared(attempt=tmp_path / own).look(0.0)) == bool(later)
    assert shared.later(None) == ""


def test_a_file_is_a_wish_to_stop(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    found = Shared(stop=stop)
    assert not found.look(0.0)
    stop.touch()
    assert found.look(5.0) == {"stop"}


def test_all_ranks_must_be_quiet(tmp_path: Path) -> None:
    parents = [Shared(attempt=tmp_path, size=2) for _ in range(2)]
    parents[0].quiet([0], on=True)
    assert not parents[0].look(0.0)
    parents[1].quiet([1], on=True)
    assert parents[0].look(5.0) == {"quiet"}
    parents[1].quiet([1], on=False)  # it goes on again
    assert not parents[0].look(10.0)


def test_without_a_job_nothing_is_looked_for_or_written(tmp_path: Path) -> None:
    found = shared.of(2, environment={})
    found.alarm()
    found.quiet([0], on=True)
    found.write([BEGUN])
    assert not found.look(9.0)
    named = shared.of(2, environment={shared.ATTEMPT: str(tmp_path), shared.STOP: str(tmp_path / "stop")})
    assert (named.attempt, named.stop, named.size) == (tmp_path, tmp_path / "stop", 2)


@pytest.mark.parametrize(
    ("error", "kind", "code"), [(DataError("no dataset"), "mistake", 2), (KeyError("x"), "exception", 1)]
)
def test_a_task_that_fails_before_its_rank_begins_is_known(
    tmp_path: Path, error: Exception, kind: str, code: int
) -> None:
    environment = {shared.ATTEMPT: str(tmp_path), "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
    with pytest.raises((SystemExit, KeyError)), shared.alarming(environment), one_line():
        raise error
    found = shared.read(tmp_path / "rank-1.json")
    assert found.cause is not None
    assert (found.size, found.cause.kind, found.cause.code) == (2, kind, code)
    assert Shared(attempt=tmp_path).look(0.0) == {"alarm"}


def test_the_end_that_ranks_had_raises_no_alarm(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), shared.alarming({shared.ATTEMPT: str(tmp_path)}):
        raise SystemExit(75)
    assert not list(tmp_path.iterdir())
