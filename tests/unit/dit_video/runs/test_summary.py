from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fake import forked
from fake.submitted import TINY

from dit_video.runs import files, summary
from dit_video.runs.files import Rows

Make, Hold = Callable[..., Path], Callable[[Path], AbstractContextManager[int]]
ROOT = Path(__file__).resolve().parents[4]


def test_a_run_in_figures(make: Make, hold: Hold) -> None:
    folder = make(saved=8)
    with hold(folder):
        (found,), said = summary.of([folder], names=["a"])
    assert said == []
    assert (found.step, found.samples_seen) == (10, 40)
    assert found.rate == pytest.approx(4 / 2.0)
    assert (found.unit, found.units) == ("tokens", pytest.approx(100.0))
    assert found.left == pytest.approx((80 - 40) / 2.0)
    assert found.loss == pytest.approx(sum(8.0 / step for step in range(1, 11)) / 10)
    assert json.loads(json.dumps(found.values()))["checkpoint"]["step"] == 8


def test_time_is_left_to_those_that_run(make: Make) -> None:
    (found,), _ = summary.of([make(how="stopped")], names=["a"])
    assert found.left is None
    assert found.rate is not None


def test_a_run_that_starts_again_stands_where_it_goes_on(make: Make, hold: Hold) -> None:
    folder = make(saved=5, more={"step": 5, "samples_seen": 20, "resumed": 5, "stepped": None})
    with hold(folder):
        (found,), _ = summary.of([folder], names=["a"])
    assert (found.step, found.samples_seen) == (5, 20)


def test_a_run_without_a_table_stands_where_it_says_or_has_saved(make: Make) -> None:
    (said,), _ = summary.of([make(rows=0)], names=["a"])
    assert said.step == 10
    (saved,), _ = summary.of([make("b", rows=0, saved=5, signed=False)], names=["b"])
    assert (saved.step, saved.samples_seen, saved.rate, saved.loss) == (5, 20, None, None)
    assert summary.rates(Rows()) == (None, "tokens", None)


def test_a_cluster_that_is_not_there_costs_a_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(more={"job": "12"}, how="stopped")
    monkeypatch.setenv("PATH", str(folder))
    (found,), said = summary.of([folder], names=["a"])
    assert found.state.word == "stopped"
    assert len(said) == 1
    assert "there is no scontrol here" in said[0]


def test_a_cluster_that_does_not_answer_costs_its_time_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/scontrol").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    (tmp_path / "bin/scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(summary, "ANSWER", 0.2)
    runs = [make(name, more={"job": str(number)}) for number, name in enumerate("abc")]
    found, said = summary.of(runs, names=list("abc"))
    assert len(found) == 3
    assert len(said) == 1
    assert "0.2 s" in said[0]


def test_runs_below_a_folder_are_named_from_there(make: Make, tmp_path: Path) -> None:
    make("b"), make("group/a")
    found, _ = summary.below(tmp_path)
    assert [run.record.name for run in found] == ["b", "group/a"]


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, dit_video.runs.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert not {"torch", "lightning", "numpy", "hydra", "pyarrow"} & set(done.stdout.split())


def test_a_list_reads_the_end_of_a_table_alone(make: Make) -> None:
    folder = make()
    with (folder / "metrics.csv").open("a") as file:
        file.writelines(f"{step},{4 * step},1.0,100.0,2.0\n" for step in range(11, 5001))
    (short,), _ = summary.of([folder], names=["a"])
    (whole,), _ = summary.of([folder], names=["a"], whole=True)
    assert len(short.record.rows.steps) == files.LAST
    assert len(whole.record.rows.steps) == 5000
    assert (short.step, short.rate, short.loss) == (whole.step, whole.rate, whole.loss)


@pytest.mark.xdist_group("train")
def test_a_training_is_seen_to_run_to_be_killed_and_to_be_done(tmp_path: Path) -> None:
    folder, run = tmp_path / "work", tmp_path / "work/outputs/runs/a"
    folder.mkdir()
    (folder / "pace").write_text("0.3")
    pace = "callbacks.pace={_target_: fake.pace.Pace, path: pace}"

    def now() -> summary.Summary | None:
        found = summary.of([run], names=["a"])[0] if run.exists() else []
        return found[0] if found else None

    running = forked.launch(folder, [*TINY, "run.samples=400", "run.every_samples=8", pace])
    until = time.monotonic() + 120
    while (found := now()) is None or (found.step or 0) < 8 or not found.record.checkpoints:
        assert time.monotonic() < until, running.files[1].read_text()
        time.sleep(0.05)
    assert (found.state.word, found.record.samples) == ("running", 400)
    assert found.left is not None
    running.kill()
    while not running.over:
        time.sleep(0.01)
    found = now()
    assert found is not None
    assert found.state.word == "stopped"
    assert found.left is None
    again = forked.start(folder, [*TINY, "run.samples=400", "run.every_samples=80"])
    assert again.returncode == 0, again.stderr
    found = now()
    assert found is not None
    assert (found.state.word, found.samples_seen, found.record.samples) == ("done", 400, 400)
    assert found.record.sign is not None
    assert found.record.sign.resumed >= 4
    assert found.record.said == []
