from __future__ import annotations

import json
from pathlib import Path

import pytest

from dit_video.runs import attempts


def start(run: Path, name: str, verdict: str | None, **ranks: dict[str, object]) -> None:
    folder = run / attempts.FOLDER / name
    folder.mkdir(parents=True)
    if verdict is not None:
        (folder / "verdict").write_text(f"{verdict}\n")
    for rank, row in ranks.items():
        (folder / f"{rank.replace('_', '-')}.json").write_text(json.dumps(row))


def test_the_newest_start_comes_first_with_the_rank_that_failed_first(tmp_path: Path) -> None:
    start(tmp_path, "9-0", "exit 0")
    first = {"rank": 1, "kind": "signal", "text": "was ended by SIGKILL in step 7", "host": "node2", "time": 5.0}
    second = {"rank": 0, "kind": "exception", "text": "failed too", "host": "node1", "time": 6.0}
    other = {"rank": 2, "kind": "consequence", "text": "lost its peer", "host": "node1", "time": 4.0}
    start(tmp_path, "12-2", "requeue 137 5 node2", rank_1=first, rank_0=second, rank_2=other)
    start(tmp_path, "12-10", None)
    said = list[str]()
    assert list(attempts.attempts(tmp_path, said=said.append)) == [
        "12-10: no verdict: it runs, or was cut off",
        "12-2: requeued, 5 s later, without node2; rank 1 on node2 was ended by SIGKILL in step 7 (and 1 more)",
        "9-0: done",
    ]
    assert said == []


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("exit 2", "ended, exit code 2"), ("requeue 75 0", "requeued"), ("", "no verdict"), ("requeue 75", "requeued")],
)
def test_a_verdict_in_words(verdict: str, words: str) -> None:
    assert attempts.decided(verdict).startswith(words)


def test_a_rank_that_was_cut_off_in_its_last_line_is_told(tmp_path: Path) -> None:
    start(tmp_path, "1-0", "exit 1")
    (tmp_path / attempts.FOLDER / "1-0/rank-0.json").write_text('{"rank": 0, ')
    said = list[str]()
    assert list(attempts.attempts(tmp_path, said=said.append)) == ["1-0: ended, exit code 1"]
    assert len(said) == 1
    assert list(attempts.attempts(tmp_path / "none", said=said.append)) == []
