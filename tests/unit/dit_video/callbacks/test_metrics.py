from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dit_video.callbacks.metrics import Line, Metrics, Table, clock, over_ranks
from dit_video.parallel import agree

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def trainer(callback: Metrics, *, lr: float = 0.5) -> Any:
    measuring = SimpleNamespace(measures=lambda: {"grad_norm": 2.0})
    optimizer = SimpleNamespace(param_groups=[{"lr": lr}])
    return SimpleNamespace(
        is_global_zero=True, optimizers=[optimizer], callbacks=[callback, measuring], logger=None, world_size=1
    )


def feed(callback: Metrics, step: int, *values: float) -> None:
    for micro, value in enumerate(values):
        place = SimpleNamespace(step=step, samples_seen=4 * (step + 1), micro=micro, micros=len(values))
        outputs = {"metrics": {"loss": torch.tensor(value)}}
        callback.on_train_batch_end(trainer(callback), Any, outputs, SimpleNamespace(place=place), 0)  # type: ignore[arg-type]


def test_micro_batches_add_up_to_one_row_of_all_figures(tmp_path: Path) -> None:
    callback = Metrics(dir=str(tmp_path), samples=8)
    feed(callback, 0, 0.25, 0.5)
    feed(callback, 1, 1.0, 2.0)
    first, second = rows(tmp_path / "metrics.csv")
    assert (first["step"], first["samples_seen"], first["loss"], first["lr"]) == ("1", "4", "0.75", "0.5")
    assert second["loss"] == "3.0"
    assert first["grad_norm"] == "2.0"
    assert float(first["seconds"]) >= 0


def summed(rank: int) -> dict[str, float]:
    return over_ranks({"loss": 0.5 + rank, f"own{rank}": 1.0}, group=agree.fresh_group())


def test_figures_add_up_over_ranks_whatever_their_names() -> None:
    assert run_ranks(summed, 2) == [{"loss": 2.0, "own0": 1.0, "own1": 1.0}] * 2


def test_floats_read_back_to_the_same_bits(tmp_path: Path) -> None:
    callback, value = Metrics(dir=str(tmp_path), samples=8), torch.tensor(0.1) / 3
    feed(callback, 0, float(value))
    assert torch.equal(torch.tensor(float(rows(tmp_path / "metrics.csv")[0]["loss"])), value)


def test_a_resumed_run_cuts_what_it_does_again(tmp_path: Path) -> None:
    table = Table(tmp_path / "a.csv")
    for step in (1, 2, 3):
        table.add({"step": step, "loss": 0.5})
    with (tmp_path / "a.csv").open("a", encoding="utf-8") as file:
        file.write("4")
    Table(tmp_path / "a.csv").add({"step": 3, "loss": 0.25})
    assert [(row["step"], row["loss"]) for row in rows(tmp_path / "a.csv")] == [
        ("1", "0.5"),
        ("2", "0.5"),
        ("3", "0.25"),
    ]


def test_a_new_figure_is_a_new_column(tmp_path: Path) -> None:
    table = Table(tmp_path / "a.csv")
    table.add({"step": 1, "loss": 0.5})
    table.add({"step": 2, "loss": 0.5, "loss/480p": 1.0})
    table.add({"step": 3, "loss": 0.5})
    assert [row["loss/480p"] for row in rows(tmp_path / "a.csv")] == ["", "1.0", ""]


def test_the_logger_counts_samples(tmp_path: Path) -> None:
    logged: list[Any] = []
    callback = Metrics(dir=str(tmp_path), samples=8)
    parent = trainer(callback)
    parent.logger = SimpleNamespace(log_metrics=lambda row, step: logged.append((row["loss"], step)))
    callback.write(parent, SimpleNamespace(step=1, samples_seen=4), {"loss": 0.5})  # type: ignore[arg-type]
    assert logged == [(0.5, 4)]


def test_the_line_tells_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(total=100)
    line.show({"step": 1, "samples_seen": 10, "loss": 0.5})
    line.show({"step": 2, "samples_seen": 20, "loss": 0.5})
    line.show({"step": 10, "samples_seen": 105, "loss": 0.25})
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert "100/100 samples" in shown[1]
    assert "0:00 left" in shown[1]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3661, "1:01:01"), (-1, "0:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_no_callback_hides_what_lightning_puts_there() -> None:
    assert not hasattr(Metrics, "log")
    assert not hasattr(Metrics, "log_dict")
