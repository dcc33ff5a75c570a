"""`train.py` on a real DiT under every kind of plan: the losses of one process, on the same samples."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))
from fake import forked

pytestmark = pytest.mark.xdist_group("train")
SMALL = [
    "models/dit=tiny",
    "models/text=tiny",
    "tasks=dit",
    "datamodules=latents",
    "optim=muon",
    "models.dit.channels=3",
    "models.dit.patch=1",
    "models.dit.width=64",
    "models.dit.depth=2",
    "datamodules.length=300",
    "datamodules.packs=8",
    "datamodules.streams=8",
    "datamodules.workers=0",
    "datamodules.validation=0",
    "optim.lr=3e-3",
    "optim.schedule.warmup=100",
    "callbacks.checkpoint=null",
    "logger=csv",
    "run.name=a",
    "run.samples=500",
]


def curve(folder: Path, dataset: Path, **plan: int) -> list[tuple[str, str, float, float]]:
    """Step, samples seen, loss and gradient's norm of every step of a run."""
    folder.mkdir()
    ranks = 1
    for size in plan.values():
        ranks *= size
    layout = [f"parallel.{name}={size}" for name, size in plan.items()] + [f"trainer.devices={ranks}"]
    arguments = [*SMALL, f"datamodules.dataset={dataset}", *layout]
    done = forked.start(folder, arguments, ranks=ranks if ranks > 1 else 0)
    assert done.returncode == 0, done.stderr
    with (folder / "outputs/runs/a/metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["step"], row["samples_seen"], float(row["loss"]), float(row["grad_norm"])) for row in rows]


@pytest.fixture(scope="module")
def alone(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, float, float]]:
    """The run of one process."""
    return curve(tmp_path_factory.mktemp("alone") / "run", finished, shard=1)


@pytest.mark.parametrize("plan", [(1, 1, 2), (1, 2, 2), (2, 2, 1)])
def test_a_plan_has_the_losses_of_one_process(
    plan: tuple[int, int, int], alone: list[tuple[str, str, float, float]], finished: Path, tmp_path: Path
) -> None:
    found = curve(tmp_path / "run", finished, **dict(zip(("replicate", "shard", "sequence"), plan, strict=True)))
    assert len(alone) >= 20
    assert alone[-1][2] < 0.9 * alone[0][2]
    for here, there in zip(alone, found, strict=True):
        assert here[:2] == there[:2]
        assert there[2] == pytest.approx(here[2], rel=1e-5)
        assert there[3] == pytest.approx(here[3], rel=1e-4)  # rounding grows with the steps
