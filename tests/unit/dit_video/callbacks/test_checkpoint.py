from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video import checkpoint
from dit_video.batch import Place
from dit_video.callbacks.checkpoint import Checkpoint
from dit_video.callbacks.ema import Ema
from dit_video.errors import ConfigError
from dit_video.optim.adamw import AdamW


class Task(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.net.named_parameters())


def parts(folder: Path, **settings: int) -> tuple[Checkpoint, Any, Any]:
    """The callback, a trainer and a task, as far as the callback looks at them."""
    (folder / "config.yaml").write_text("a: 1\n", encoding="utf-8")
    task: Any = Task()
    callback, ema = Checkpoint(dir=str(folder), **{"every_samples": 8, **settings}), Ema(half_life=8)
    ema.on_fit_start(Any, task)  # type: ignore[arg-type]
    trainer = SimpleNamespace(
        callbacks=[ema, callback],
        optimizers=[AdamW(task.trained().items(), lr=0.1)],
        datamodule=SimpleNamespace(fingerprint="f"),
        is_global_zero=True,
    )
    return callback, trainer, task


def run(callback: Checkpoint, trainer: Any, task: Any, *, steps: range) -> None:
    for step in steps:
        for micro in range(2):
            place = Place(step=step, samples_seen=3 * (step + 1), micro=micro, micros=2, packs=(), step_weight=1.0)
            callback.on_train_batch_end(trainer, task, None, SimpleNamespace(place=place), 0)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_saves_when_an_interval_is_over_and_at_the_end(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path, keep=9)
    run(callback, trainer, task, steps=range(6))
    assert names(tmp_path) == ["000000000009-00000003", "000000000018-00000006"]
    run(callback, trainer, task, steps=range(6, 7))
    callback.on_train_end(trainer, task)
    callback.on_train_end(trainer, task)
    assert names(tmp_path)[-1] == "000000000021-00000007"


def test_keeps_the_newest(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path, keep=1)
    run(callback, trainer, task, steps=range(6))
    assert names(tmp_path) == ["000000000018-00000006"]
    with pytest.raises(ConfigError, match="keep"):
        parts(tmp_path, keep=0)


def test_reads_back_what_it_has_saved(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path)
    run(callback, trainer, task, steps=range(3))
    other, second, fresh = parts(tmp_path)
    other.on_fit_start(second, fresh)
    assert other.saved == 0
    other.found = checkpoint.latest(tmp_path / "checkpoints")
    other.on_fit_start(second, fresh)
    assert torch.equal(fresh.net.weight, task.net.weight)
    assert second.callbacks[0].samples_seen == other.saved == 9
    newest = checkpoint.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert checkpoint.progress(newest) == checkpoint.Progress(step=3, samples_seen=9, fingerprint="f")
