"""train.py on two ranks goes on after one of them crashed, and ends as if nothing had happened."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import crashes, forked, kills

pytestmark = pytest.mark.xdist_group("train")


@pytest.mark.timeout(300)
def test_a_run_whose_rank_crashed_ends_like_one_left_alone(tmp_path: Path) -> None:
    oracle, failing = tmp_path / "oracle", tmp_path / "failing"
    for folder in (oracle, failing):
        folder.mkdir()
    alone = forked.start(oracle, [*crashes.ARGUMENTS, "run.samples=40"], ranks=2)
    assert alone.returncode == 0, alone.stderr
    crash = "callbacks.crash={_target_: fake.crash.Crash, kind: segfault, step: 7, rank: 1, folder: .}"
    done = crashes.run(failing, crash, steps=10)
    assert done.returncode == 0, done.stderr
    (row,) = (json.loads(line) for line in (failing / kills.RUN / "restarts.jsonl").read_text("utf-8").splitlines())
    assert (row["rank"], row["kind"], row["step"]) == (1, "signal", 7)
    assert f"rank 1 on {row['host']} was ended by SIGSEGV in step 7; starting again from" in done.stderr
    assert "fake/faults.py" in done.stderr
    assert list(kills.differences(failing, oracle)) == []
