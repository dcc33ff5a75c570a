"""The figures of a plan, and `run.plan=true` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import train
from datamodules.forecast import forecast
from datamodules.latents import LatentData
from dit_video import config
from dit_video.errors import ConfigError

DIT = ["experiment=quickstart/dit", "models.dit.channels=3", "models.dit.width=32", "models.dit.depth=1"]
DIT += ["models.text.width=32", "models.text.vocabulary=300", "datamodules.captions={dense: 0, source: 1}"]
DIT += ["datamodules.length=300", "run.samples=300", "optim.schedule.warmup=100"]


def test_figures_add_up(finished: Path, dit: Any) -> None:
    data = LatentData(dataset=str(finished), length=300, packs=4, micro=2, workers=0)
    found = forecast(data, dit, name="a", samples=90, ranks=2, averages=True, tflops=1e-6)
    assert sum(bucket.clips for bucket in found.buckets) + sum(found.dropped.values()) == found.clips == 30
    for name in ("samples_share", "size_share", "flops_share"):
        assert sum(getattr(bucket, name) for bucket in found.buckets) == pytest.approx(1)
    assert found.micros == 1
    assert found.epoch_packs == 4 * found.epoch_steps
    assert found.memory.averages == found.memory.gradients == 4 * found.memory.parameters
    whole = sum(bucket.flops * bucket.samples_share for bucket in found.buckets) * found.epoch_samples
    assert whole < found.flops * found.epoch_steps < 1.2 * whole  # beside it, padding alone
    assert found.seconds is not None
    assert found.seconds == pytest.approx(found.steps * found.flops / (2 * 1e6 * (1 - found.idle)))


def test_half_the_ranks_take_twice_the_packs(finished: Path, dit: Any) -> None:
    data = LatentData(dataset=str(finished), length=300, packs=4, micro=1, workers=0)
    one, two = (forecast(data, dit, name="a", samples=90, ranks=ranks) for ranks in (1, 2))
    assert (one.micros, two.micros) == (4, 2)
    assert (one.flops, one.steps, one.padding) == (two.flops, two.steps, two.padding)
    assert one.idle == 0.0 <= two.idle


def test_a_task_that_cannot_be_rehearsed_is_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="object cannot be rehearsed"):
        forecast(LatentData(dataset=str(finished), length=300), object(), name="a", samples=90, ranks=1)


def test_fewer_streams_than_ranks_are_refused(finished: Path, dit: Any) -> None:
    data = LatentData(dataset=str(finished), length=300, packs=4, streams=1, workers=0)
    with pytest.raises(ConfigError, match=r"1 streams are fewer than 2 ranks; raise datamodules\.streams"):
        forecast(data, dit, name="a", samples=90, ranks=2)


def planned(*changes: str) -> None:
    """What `python train.py ... run.plan=true` does with its settings, in this process."""
    overrides = config.rewrite([*DIT, "run.plan=true", *changes], conf=train.CONF, name="train", paths=train.PATHS)
    with initialize_config_dir(config_dir=str(train.CONF), version_base="1.3"):
        cfg = compose("train", overrides=overrides)
    train.foresee(OmegaConf.create(config.resolve(cfg, conf=train.CONF)))


def test_a_plan_is_printed(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(f"datamodules.dataset={finished}")
    text = capsys.readouterr().out
    assert text.startswith("quickstart-dit: the plan of 300 samples on 1 rank\n")
    assert max(map(len, text.splitlines())) <= 100


def test_a_plan_is_for_machines_that_are_not_there(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    many = ["trainer=gpu", "trainer.devices=auto", "run.ranks=2", "datamodules.packs=64", "datamodules.streams=2"]
    planned(f"datamodules.dataset={finished}", *many, "run.plan=json")
    found = json.loads(capsys.readouterr().out)
    assert (found["ranks"], found["micros"], found["packs"]) == (2, 32, 64)
    assert list(tmp_path.iterdir()) == []


MANY = ["run.ranks=8", "datamodules.packs=4", "datamodules.streams=4", "parallel.shard=2", "parallel.sequence=2"]


def test_the_ranks_of_a_plan_share_state_and_packs(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for changes in (MANY, ["datamodules.packs=4"]):
        planned(f"datamodules.dataset={finished}", *changes, "run.plan=json")
        found.append(json.loads(capsys.readouterr().out))
    eight, one = found
    assert eight["plan"] | {"replicate": 2, "shard": 2, "sequence": 2} == eight["plan"]
    assert (one["micros"], eight["micros"]) == (4, 1)  # the two ranks of a sequence have the same pack
    assert one["memory"]["checkpoint"] == eight["memory"]["checkpoint"]
    for name in ("weights", "gradients", "optimizer"):
        assert one["memory"][name] / 4 <= eight["memory"][name] < one["memory"][name] / 3
    assert eight["memory"]["activations"] == pytest.approx(one["memory"]["activations"] / 2, rel=0.01)
    assert min(value for value in eight["traffic"].values()) > 0
    assert one["traffic"]["total"] == 0


def test_a_page_tells_what_is_sent_and_what_does_not_fit(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"a rank needs .* GB and run\.memory_gb=1e-05; raise parallel\.shard"):
        planned(f"datamodules.dataset={finished}", *MANY, "run.memory_gb=0.00001")
    capsys.readouterr()
    with pytest.raises(ConfigError, match=r"a rank needs .* GB and run\.memory_gb=1e-05; .*parallel\.recompute=full"):
        planned(f"datamodules.dataset={finished}", *MANY, "datamodules.length=4096", "run.memory_gb=0.00001")
    text = capsys.readouterr().out
    assert "parallel    2 copies, sharded over 4 ranks, packs parted over 2 ranks, recompute none\n" in text
    assert "sent        " in text
    assert max(map(len, text.splitlines())) <= 100
    planned(f"datamodules.dataset={finished}", *MANY, "run.memory_gb=1")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("datamodules.length=50", "or leave them out by datamodules.drop_long=true"),
        ("run.ranks=3", "datamodules.packs=1 a step must be a multiple of datamodules.micro=1 times 3 ranks"),
        ("trainer.devices=auto", "trainer.devices=auto says nothing about other machines; add run.ranks=N"),
        ("run.plan=text", "run.plan must be bool or 'json'"),
        ("parallel.sequence=3", "processes and the trainer starts 1"),
        ("trainer.precision=64-true", "trainer.precision=64-true is not known to run.plan"),
    ],
)
def test_a_mistake_is_said(finished: Path, change: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        planned(f"datamodules.dataset={finished}", change)
    assert hint in str(error.value)
