from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dit_video.checkpoint.folder import NAME
from dit_video.runs import record

Make = Callable[..., Path]
CONFIG = {
    "models": {"dit": {"_target_": "dit_video.models.dit.DiT", "run": {"samples": 1}}},
    "tasks": {"_target_": "dit_video.tasks.dit.DiTTask", "dit": {"width": 8}, "levels": [1, 2]},
    "run": {"_target_": "dit_video.config.Run", "name": "a", "dir": "a", "samples": 85000, "submit": {"time": "1:00"}},
}


def test_kind_and_length_stand_in_config_where_the_run_has_said_nothing(make: Make) -> None:
    folder = make(signed=False)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(CONFIG)))
    found = record.read(folder, name="a")
    assert (found.kind, found.samples, found.said) == ("dit", 85000, [])


@pytest.mark.parametrize("text", ["", "run:\n  samples: [\ntasks: 5\n", "run:\n- a\n", "tasks:\n  _target_:\n", "\0"])
def test_a_damaged_config_is_at_most_a_line(make: Make, text: str) -> None:
    folder, said = make(signed=False), list[str]()
    (folder / "config.yaml").write_text(text)
    found = record.read(folder, name="a")
    assert found.samples is None
    assert len(found.said) <= 1
    assert record.settings(folder, said=said.append) in ({}, {"tasks": {"_target_": None}}, {"run": ["a"]})


def test_checkpoints_are_named_as_they_are_saved(make: Make) -> None:
    found = record.read(make(saved=5), name="a").checkpoints
    assert [(item.samples_seen, item.step) for item in found] == [(20, 5)]
    assert all(NAME.fullmatch(item.path.name) for item in found)


def test_jobs_are_those_submitted_and_the_one_it_runs_in(make: Make) -> None:
    folder = make(more={"job": "14"})
    (folder / "slurm").mkdir()
    rows = [{"job": "12"}, {"job": "13"}, {"script": "x"}]
    (folder / "slurm/jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert record.read(folder, name="a").jobs == ("12", "13", "14")


def test_a_damaged_sign_is_a_line(make: Make) -> None:
    folder = make()
    (folder / "state.json").write_text('{"name": "a", "ki')
    found = record.read(folder, name="a")
    assert found.sign is None
    assert len(found.said) == 1
    assert "state.json is damaged" in found.said[0]


def test_a_run_is_complete_when_all_is_saved_or_it_has_said_so(make: Make) -> None:
    assert not record.read(make("a", saved=10), name="a").complete
    assert record.read(make("b", saved=20), name="b").complete
    assert record.read(make("c", how="done"), name="c").complete
    assert not record.read(make("d", how="stopped", saved=10), name="d").complete
