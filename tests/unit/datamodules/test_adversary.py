"""`train.py` with a discriminator, killed in the midst of the game: the run that goes on is the one left alone."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))
from fake import kills

pytestmark = pytest.mark.xdist_group("train")
SMALL = [
    *("tasks=vae_gan", "models/vae=tiny", "datamodules=clips", "optim=adamw", "logger=csv", "run.name=a"),
    *("models.vae.channels=4", "models.vae.widths=[8,8]", "models.vae.blocks=[1,1]", "tasks.start_batches=2"),
    *("tasks.adversary.start=8", "tasks.adversary.alone=4", "tasks.adversary.warmup=16"),
    "tasks.adversary.discriminator.widths=[8,8]",
    "tasks.adversary.discriminator.time=[1,2]",
    *("datamodules.sizes=[1x16x16,5x16x16]", "datamodules.batch=2", "datamodules.packs=2", "datamodules.streams=2"),
    *("datamodules.workers=0", "datamodules.validation=0", "optim.schedule.warmup=4"),
    *("run.samples=48", "run.every_samples=8"),
]


def after(folder: Path, steps: int) -> Callable[[float], bool]:
    """Whether a run has come to so many steps."""

    def come(elapsed: float) -> bool:
        del elapsed
        table = folder / kills.RUN / "metrics.csv"
        return table.is_file() and len(table.read_text(encoding="utf-8").splitlines()) > steps

    return come


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_game_that_is_killed_goes_on_to_the_bit(finished: Path, tmp_path: Path, ranks: int) -> None:
    plan = ["parallel.shard=2", "trainer.devices=2"] if ranks else []
    arguments = [*SMALL, *plan, f"datamodules.dataset={finished}"]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    kills.whole(alone, arguments, ranks=ranks)
    starts = [kills.Start(ranks=ranks, kill=after(killed, steps)) for steps in (5, 9)]
    attempts = kills.survive(killed, arguments, plan=lambda n: starts[n] if n < 2 else kills.Start(ranks=ranks))
    assert [attempt.killed for attempt in attempts] == [True, True, False]
    assert list(kills.differences(alone, killed)) == []
    found = kills.tensors(alone)
    for name in ("model.discriminator.out.weight", "optimizer.discriminator.out.weight.exp_avg"):
        assert found[name].any(), name
    assert (found["model.discriminator.squares"] > 0).all()
    assert not [name for name in found if name.startswith("ema.discriminator")]
    with (alone / kills.RUN / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["gan_judged"]) for row in rows] == [False, False] + [True] * 10  # by samples
    assert float(rows[2]["gan_force"]) == 0 < float(rows[-1]["gan_force"])
