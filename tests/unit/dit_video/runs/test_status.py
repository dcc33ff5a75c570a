from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fake.trained import age, failed
from omegaconf import OmegaConf

from dit_video.runs import status, summary

Make, Hold = Callable[..., Path], Callable[[Path], AbstractContextManager[int]]


def page(folder: Path) -> str:
    (found,), _ = summary.of([folder], names=["a"], whole=True)
    lines, said = status.page(found, width=80)
    assert said == []
    return " ".join(" ".join(lines).split())


def test_a_page_says_what_it_is_how_far_and_what_happened(make: Make) -> None:
    folder = make(how="failed", text="a consequence", saved=5)
    config = {
        "tasks": {"dit": {"width": 128, "depth": 4}},
        "optim": {"_target_": "dit_video.optim.muon.Muon", "lr": 0.01},
    }
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    failed(folder, restarted=True, kept="a/crashes/1")
    failed(folder, restarted=False, excluded=["node2"], refusal="twice in a row")
    text = page(folder)
    assert "failed: rank 1 on node1 failed in step 5: ValueError: no; not started again: twice in a row" in text
    assert "step 10 · 40 of 80 samples · 2 samples/s · 100 tokens/s" in text
    assert "model: width=128 depth=4" in text
    assert "optimizer: Muon lr=0.01" in text
    assert "step 5, 20 samples" in text
    assert "went on from step 4" in text
    assert "more in a/crashes/1" in text
    assert "not started again (twice in a row)" in text
    assert "left out from then on: node2" in text
    assert "resume: python train.py experiment=a" in text


def test_the_next_command_follows_from_the_state(make: Make, hold: Hold) -> None:
    folder = make()
    with hold(folder):
        assert "kill" in page(folder)
        assert "watch=true" in page(folder)
    assert "resume:" in page(folder)
    assert "larger run.samples" in page(make("b", how="done"))


def test_a_run_of_slurm_is_followed_cancelled_and_resumed_by_its_script(make: Make, hold: Hold) -> None:
    folder = make(more={"job": "12"})
    (folder / "slurm").mkdir()
    (folder / "slurm/12.out").touch()
    row = {"job": "12", "script": "/x/slurm/job.sbatch", "command": ["train.py"], "folder": "/x"}
    (folder / "slurm/jobs.jsonl").write_text(json.dumps(row) + "\n")
    with hold(folder):
        assert f"tail -f {folder}/slurm/12.out" in page(folder)
        assert "scancel 12" in page(folder)
    assert "resume: sbatch /x/slurm/job.sbatch" in page(folder)


def test_a_lost_run_is_not_started_twice(make: Make, hold: Hold) -> None:
    folder = make(more={"host": "node9"})
    age(folder, 1000)
    with hold(folder):
        assert "make sure that node9 is down" in page(folder)


@pytest.mark.parametrize("config", ["", "a: [", "tasks: 5\nparallel: null\n"])
def test_a_folder_with_next_to_nothing_has_a_page(make: Make, config: str) -> None:
    folder = make(rows=0, signed=False)
    (folder / "config.yaml").write_text(config)
    (found,), _ = summary.of([folder], names=["a"], whole=True)
    lines, said = status.page(found, width=None)
    assert any("stopped" in line for line in lines)
    assert len(said) == (config == "a: [")
