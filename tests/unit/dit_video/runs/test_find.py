from __future__ import annotations

from pathlib import Path

import pytest

from dit_video.runs import find


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_runs_are_found_wherever_they_lie_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b/metrics.csv", "b/wandb/x/metrics.csv", "a/state.json", "deep/er/c/checkpoints/x/config.yaml")
    touch(tmp_path, "waiting/slurm/jobs.jsonl", "shown/slurm/job.sbatch", "data/dataset.json", "data/clips/metrics.csv")
    touch(tmp_path, ".hidden/metrics.csv", "plain/config.yaml")
    found = [path.relative_to(tmp_path).as_posix() for path in find.runs(tmp_path)]
    assert found == ["a", "b", "deep/er/c", "waiting"]


def test_points_of_a_sweep_are_runs_whatever_lies_beside_them(tmp_path: Path) -> None:
    touch(tmp_path, "s/optim.lr=0.1/metrics.csv", "s/optim.lr=0.01/slurm/jobs.jsonl", "s/slurm/jobs.jsonl")
    assert [path.name for path in find.runs(tmp_path)] == ["optim.lr=0.01", "optim.lr=0.1"]
    assert [path.name for path in find.points(tmp_path / "s")] == ["optim.lr=0.01", "optim.lr=0.1"]
    assert find.points(tmp_path / "none") == []


def test_a_folder_that_is_a_run_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "metrics.csv", "samples/a/state.json")
    assert list(find.runs(tmp_path)) == [tmp_path]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("optim.lr=0.1", {"optim.lr": "0.1"}),
        ("optim.lr=0.1,run.seed=2", {"optim.lr": "0.1", "run.seed": "2"}),
        ("optim=muon,data.sizes=[1x2,3x4],seed=2", {"optim": "muon", "data.sizes": "[1x2,3x4]", "seed": "2"}),
        ("a=1,2", {"a": "1,2"}),
        ("models/dit=s", {"models/dit": "s"}),
        ("plain", {}),
        ("plain,a=1", {}),
        ("", {}),
        ("=1", {}),
    ],
)  # fmt: skip
def test_the_name_of_a_point_is_its_settings(name: str, settings: dict[str, str]) -> None:
    assert find.settings(name) == settings
