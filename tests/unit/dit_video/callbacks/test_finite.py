from __future__ import annotations

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from dit_video.callbacks import replay
from dit_video.callbacks.ema import Ema
from dit_video.callbacks.finite import Finite, bits, number
from dit_video.errors import ConfigError, UserError
from dit_video.optim.adamw import AdamW
from dit_video.optim.muon import Muon

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import poisons
from fake.datamodule import FakeData
from fake.poison import Dose, Poison
from fake.task import FakeTask


class Counting(FakeTask):
    """With a buffer that the forward moves, as the VAE has."""

    def begin(self) -> None:
        self.register_buffer("mean", torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        self.mean.lerp_(batch.video.mean(), 0.5)
        return super().training_step(batch, batch_idx)


class Witness(Callback):
    """Keeps all the state of a run after each step."""

    def __init__(self) -> None:
        self.states: list[list[Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch.place.micro == batch.place.micros - 1:
            ema = next(item for item in trainer.callbacks if isinstance(item, Ema))
            optimizer = [value for state in trainer.optimizers[0].state.values() for value in state.values()]
            held = [*pl_module.state_dict().values(), *ema.tensors(pl_module).values(), *optimizer]
            self.states.append([value.detach().clone() for value in held])


def train(folder: Path, *doses: Dose, optim: Any = AdamW, steps: int = 6, **settings: Any) -> tuple[Finite, Witness]:
    """Some steps of two micro-batches, poisoned."""
    finite, witness = Finite(dir=str(folder), **settings), Witness()
    data = FakeData()
    data.begin(0, 2 * steps, 0, 1)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
        accumulate_grad_batches=data.micros,
        callbacks=[finite, Ema(half_life=8), witness, Poison(doses=doses)],
    )
    trainer.fit(Counting(optim=partial(optim, lr=0.01)), datamodule=data)
    return finite, witness


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


BAD = [Dose(step=3, factor=math.nan), Dose(step=5, factor=math.inf, where="gradient")]


@pytest.mark.parametrize("optim", [AdamW, Muon])
def test_a_step_left_out_leaves_every_bit(tmp_path: Path, optim: Any) -> None:
    finite, witness = train(tmp_path, *BAD, optim=optim)
    left_out = [same(before, after) for before, after in zip(witness.states, witness.states[1:], strict=False)]
    assert left_out == [False, True, False, True, False]
    assert finite.skips.counts.tolist() == [0, 2]
    assert finite.measures()["not_finite"] == 2


def test_a_step_left_out_names_its_samples_and_can_be_computed_again(tmp_path: Path) -> None:
    train(tmp_path, *BAD)
    files = sorted(path.name for path in (tmp_path / "replay").iterdir())
    assert files == [f"00000{step}-0.{kind}" for step in (3, 5) for kind in ("json", "safetensors")]
    told = json.loads((tmp_path / "replay" / "000003-0.json").read_text())
    assert [micro["keys"] for micro in told["micros"]] == [["2-0"], ["2-1"]]
    assert [math.isfinite(micro["loss"]) for micro in told["micros"]] == [False, True]
    batches: Any = replay.read(tmp_path / "replay" / "000003-0.json")
    assert [bool(batch.video.isfinite().all()) for batch in batches] == [False, True]


def test_the_policy_stop_stops_before_the_update(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step 3: the loss is nan .* by rank 0; .* Samples of rank 0: 2-0 2-1"):
        train(tmp_path, *BAD, policy="stop")


def test_too_many_in_a_row_stop(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step 3: .* in 2 steps in a row \(callbacks\.finite\.in_a_row=1\)"):
        train(tmp_path, *(Dose(step=step, factor=math.nan) for step in (2, 3)), in_a_row=1)


def test_the_norm_and_the_loss_are_those_of_the_whole_step(tmp_path: Path) -> None:
    finite, _ = train(tmp_path, steps=1)
    assert finite.norm > 0
    assert finite.loss == pytest.approx(sum(finite.losses))
    assert set(finite.kept()) == {"finite.counts"}


@pytest.mark.parametrize("value", [0.0, -1.5, math.inf, 1e-300])
def test_floats_travel_as_integers(value: float) -> None:
    assert number(bits(value)) == value
    assert math.isnan(number(bits(math.nan)))


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.finite"):
        Finite(dir="", policy="go")  # type: ignore[arg-type]


@pytest.mark.timeout(300)
def test_two_ranks_leave_a_step_out_or_stop_together(tmp_path: Path) -> None:
    cases = [
        poisons.Case(dose=Dose(step=poisons.STEP, factor=math.nan, rank=1), policy="skip"),
        poisons.Case(dose=Dose(step=poisons.STEP, factor=math.inf, rank=0, where="gradient"), policy="stop"),
    ]
    assert poisons.tried(cases, tmp_path) == {"tried": 2, "right": 2, "wrong": []}
