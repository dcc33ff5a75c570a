"""What came first in a start of a job, by what its ranks have written, and by what they have not."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dit_video.errors import ConfigError
from dit_video.launch.cause import Cause, Kind
from dit_video.launch.heartbeat import BEGINNING, Beat
from dit_video.launch.shared import Ending, Shared
from dit_video.slurm import attempt
from dit_video.slurm.attempt import Attempt

BEAT = Beat(10, 20, "step", 7, 6)


def cause(kind: Kind, *, rank: int = 0, time: float = 5.0, code: int = 1, **more: Any) -> Cause:
    """Why a rank ended."""
    return Cause(rank=rank, kind=kind, name=kind, text=f"is {kind}", code=code, time=time, beat=BEAT, **more)


def ending(rank: int, kind: Kind | None = None, *, size: int = 3, lost: bool = False, **more: Any) -> Ending:
    """A rank, one a node, that ended of `kind`, for another's sake (None), or was lost."""
    found = cause(kind, rank=rank, **more) if kind else None
    ended = None if lost else 9.0
    return Ending(
        rank=rank, size=size, node=f"node{rank + 1}", restarts=3, began=1.0, ended=ended, cause=found, beat=BEAT
    )


def first(*endings: Ending) -> tuple[str, int | None]:
    """Kind and rank of what came first."""
    found = Attempt(Path("7-0"), endings).first()
    assert found is not None
    return found.kind, found.rank


def test_all_done_is_done() -> None:
    assert Attempt(Path("7-0"), tuple(ending(rank, "done") for rank in range(3))).first() is None


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        ((ending(0, "consequence"), ending(1, "exception", time=8), ending(2, "signal", time=7)), ("signal", 2)),
        ((ending(0, "exception", time=1), ending(1, "node", time=8), ending(2)), ("node", 1)),
        ((ending(0, "consequence"), ending(1, lost=True), ending(2, "consequence")), ("gone", 1)),
        ((ending(0, "stuck"), ending(1, lost=True), ending(2)), ("gone", 1)),
        ((ending(0, "consequence"), ending(2, "consequence")), ("gone", 1)),  # it has not even begun
        ((ending(0, "stop", code=75), ending(2, "stop", code=75)), ("stop", 0)),  # a signal ended it before Python
        ((ending(0, "exception"), ending(1, lost=True), ending(2)), ("exception", 0)),
        ((ending(0, "stop", code=75), ending(1, "mistake"), ending(2)), ("mistake", 1)),
        ((ending(0), ending(1), ending(2)), ("exit", 0)),
        ((ending(0, "consequence", time=3), ending(1, "consequence", time=2), ending(2)), ("consequence", 1)),
    ],
)
def test_what_came_first(endings: tuple[Ending, ...], expected: tuple[str, int]) -> None:
    assert first(*endings) == expected


def test_of_ranks_that_hang_on_several_nodes_the_one_that_waits_for_none_is_named() -> None:
    exchange, loader = ("x/torch/distributed/c10d.py:3 all_reduce",), ("x/loader.py:9 read",)
    stuck = ending(0, "stuck", frames=exchange)
    others = [replace(ending(rank), frames=frames) for rank, frames in ((1, exchange), (2, loader))]
    found = Attempt(Path("7-0"), (stuck, *others)).first()
    assert found is not None
    assert (found.rank, found.kind, found.frames) == (2, "stuck", loader)
    assert found.text.endswith("the others wait for it")


def test_where_the_stacks_do_not_tell_the_one_behind_is() -> None:
    ranks = [ending(0, "stuck"), replace(ending(1), beat=BEAT._replace(done=5)), ending(2)]
    assert first(*ranks) == ("stuck", 1)


def test_the_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "41-2"
    ranks = (ending(0, "done"), ending(1, lost=True))
    Shared(attempt=folder).write(ranks)
    found = attempt.read(folder)
    assert found.endings == ranks
    assert (found.job, found.start, found.nodes, found.absent) == ("41", 2, ["node1", "node2"], [2])
    assert found.node(1) == "node2"


@pytest.mark.parametrize(
    ("ranks", "host"),
    [((ending(0, "consequence"), ending(1, lost=True)), "node2"), ((ending(0, lost=True), ending(1, lost=True)), "")],
)
def test_a_start_that_slurm_took_back_is_noted_once_by_the_next(
    tmp_path: Path, ranks: tuple[Ending, ...], host: str
) -> None:
    attempts = tmp_path / "slurm" / "attempts"
    Shared(attempt=attempts / "41-0").write([ending(0, "stop", code=75)])
    (attempts / "41-0" / attempt.VERDICT).write_text("requeue 75 0\n")
    Shared(attempt=attempts / "41-1").write(ranks)
    Shared(attempt=attempts / "40-0").write(ranks)  # of another job
    for _ in range(2):
        attempt.look_back(run=tmp_path, environment={"DIT_VIDEO_ATTEMPT": str(attempts / "41-2")})
    rows = [json.loads(line) for line in (tmp_path / "restarts.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["job"], row["start"], row["host"]) for row in rows] == [("requeued", "41", 1, host)]
    assert rows[0]["step"] == 7
    attempt.look_back(run=tmp_path / "other", environment={})
    assert not (tmp_path / "other").exists()


def test_a_start_that_only_the_shell_settled_is_no_failure(tmp_path: Path) -> None:
    attempts = tmp_path / "slurm" / "attempts"
    Shared(attempt=attempts / "41-0").write([ending(0, "stop", code=75), ending(1, "stop", code=75)])
    attempt.look_back(run=tmp_path, environment={"DIT_VIDEO_ATTEMPT": str(attempts / "41-1")})
    assert not (tmp_path / "restarts.jsonl").exists()


@pytest.mark.parametrize("done", [0, 1])
@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize(("saved", "ends"), [(None, True), (-1.0, True), (1.0, False)])
def test_a_job_whose_last_starts_have_saved_nothing_ends(
    tmp_path: Path, done: int, lost: bool, saved: float | None, ends: bool
) -> None:
    """Saved was `saved` seconds after the first of them began. A rank that was `lost` tells of no step, and what
    another tells of those that are done counts for nothing.
    """
    attempts, began = tmp_path / "slurm" / "attempts", 1e9
    for number in range(attempt.IDLE):
        ranks = [replace(ending(0, "stop", code=75), beat=BEAT._replace(done=done))]
        if lost:
            ranks = [replace(ending(1, lost=True), beat=BEGINNING), *(ranks if done else [])]
        written = [replace(item, began=began + 100 * number) for item in ranks]
        Shared(attempt=attempts / f"41-{number}").write(written if number != 5 else [])
        (attempts / f"41-{number}").mkdir(exist_ok=True)  # of one no rank has come to write
    if saved is not None:
        checkpoint = tmp_path / "checkpoints" / "000000000004-00000001"
        checkpoint.mkdir(parents=True)
        os.utime(checkpoint, (began + saved, began + saved))
    given = {"DIT_VIDEO_ATTEMPT": str(attempts / f"41-{attempt.IDLE}")}
    with pytest.raises(ConfigError, match=r"run\.submit\.time") if ends else nullcontext():
        attempt.look_back(run=tmp_path, environment=given)


def test_of_earlier_starts_only_those_are_read_that_tell_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which one has a verdict, and one a row; another version of the code wrote a rank of the last."""
    attempts = tmp_path / "slurm" / "attempts"
    for number in range(3):
        Shared(attempt=attempts / f"41-{number}").write([replace(ending(0, lost=True), beat=BEGINNING)])
    (attempts / "41-0" / attempt.VERDICT).write_text("requeue 75 0\n")
    given = {"DIT_VIDEO_ATTEMPT": str(attempts / "41-2")}
    attempt.look_back(run=tmp_path, environment=given)
    (attempts / "41-2" / "rank-1.json").write_text(json.dumps({"rank": 1, "other": 2, "beat": [], "frames": []}))
    (tmp_path / "checkpoints" / "000000000004-00000004").mkdir(parents=True)
    read, given = [], {"DIT_VIDEO_ATTEMPT": str(attempts / "41-3")}
    own = attempt.read
    monkeypatch.setattr(attempt, "read", lambda folder: read.append(folder.name) or own(folder))
    attempt.look_back(run=tmp_path, environment=given)
    assert read == ["41-2"]
    rows = [json.loads(line) for line in (tmp_path / "restarts.jsonl").read_text().splitlines()]
    assert [(row["start"], row["step"]) for row in rows] == [(1, 0), (2, 4)]
