from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video import checkpoint
from dit_video.batch import Place
from dit_video.callbacks.checkpoint import BUSY, Checkpoint
from dit_video.callbacks.ema import Ema
from dit_video.errors import CheckpointError, ConfigError
from dit_video.launch import heartbeat, report
from dit_video.launch.heartbeat import Heartbeat
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
    callback.found = checkpoint.latest(folder / "checkpoints")
    callback.on_fit_start(trainer, task)  # type: ignore[arg-type]
    return callback, trainer, task


def run(callback: Checkpoint, trainer: Any, task: Any, *, steps: range) -> None:
    """Steps of 3 samples, at the end of which ranks exchange their flags as callbacks.preempt has them do."""
    for step in steps:
        for micro in range(2):
            place = Place(step=step, samples_seen=3 * (step + 1), micro=micro, micros=2, packs=(), step_weight=1.0)
            callback.on_train_batch_end(trainer, task, None, SimpleNamespace(place=place), 0)  # type: ignore[arg-type]
        callback.agreed(callback.raised())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir() if not path.name.startswith("."))


@contextmanager
def no_large_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_saves_when_an_interval_is_over_and_at_the_end(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path, keep=9)
    run(callback, trainer, task, steps=range(7))
    callback.on_train_end(trainer, task)
    callback.on_train_end(trainer, task)
    assert names(tmp_path) == ["000000000009-00000003", "000000000018-00000006", "000000000021-00000007"]
    assert callback.saved == 21


def test_keeps_the_newest_and_marks(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path, keep=1, every_samples=3, keep_every=8)
    run(callback, trainer, task, steps=range(7))
    callback.on_train_end(trainer, task)
    assert names(tmp_path) == ["000000000009-00000003", "000000000018-00000006", "000000000021-00000007"]


@pytest.mark.parametrize("setting", [{"keep": 0}, {"keep_every": -1}, {"tries": 0}])
def test_settings_without_a_meaning_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Checkpoint(dir="", every_samples=8, **setting)


def test_reads_back_what_it_has_saved(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path)
    run(callback, trainer, task, steps=range(3))
    callback.on_train_end(trainer, task)
    other, second, fresh = parts(tmp_path)
    assert torch.equal(fresh.net.weight, task.net.weight)
    assert second.callbacks[0].samples_seen == other.saved == 9
    newest = checkpoint.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert checkpoint.progress(newest) == checkpoint.Progress(step=3, samples_seen=9, fingerprint="f")


def test_what_training_does_meanwhile_is_not_saved(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path)
    before = task.net.weight.detach().clone()
    run(callback, trainer, task, steps=range(3))
    with torch.no_grad():
        task.net.weight.fill_(7.0)
    callback.teardown(trainer, task, "fit")
    (path,) = (tmp_path / "checkpoints").iterdir()
    assert torch.equal(checkpoint.weights(path, ema=False)["net.weight"], before)


def test_other_callbacks_state_is_kept(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path)
    trainer.callbacks.append(SimpleNamespace(kept=lambda: {"spike.seen": torch.tensor(3)}))
    run(callback, trainer, task, steps=range(3))
    callback.on_train_end(trainer, task)
    seen = torch.tensor(0)
    other, second, fresh = parts(tmp_path)  # that no callback wants it is no mistake
    second.callbacks.append(SimpleNamespace(kept=lambda: {"spike.seen": seen, "more": torch.ones(2)}))
    other.on_fit_start(second, fresh)
    assert seen == 3


def test_what_is_not_sound_is_not_saved(tmp_path: Path) -> None:
    def confirm(trainer: Any, task: Any, *, step: int) -> None:
        raise RuntimeError(f"step {step}: a bit is flipped")

    callback, trainer, task = parts(tmp_path)
    trainer.callbacks.append(SimpleNamespace(confirm=confirm))
    with pytest.raises(RuntimeError, match="step 3: a bit is flipped"):
        run(callback, trainer, task, steps=range(3))
    callback.teardown(trainer, task, "fit")
    assert not (tmp_path / "checkpoints").is_dir() or not names(tmp_path)


def test_a_failed_save_is_tried_again_and_two_stop_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callback, trainer, task = parts(tmp_path)
    run(callback, trainer, task, steps=range(3))
    callback.settle()
    with no_large_files():
        run(callback, trainer, task, steps=range(3, 6))
        callback.settle()
    assert "at 18 samples was not saved (File too large); the ones before it are kept" in caplog.text
    assert "training goes on" in caplog.text
    run(callback, trainer, task, steps=range(6, 9))
    callback.settle()
    assert names(tmp_path) == ["000000000009-00000003", "000000000024-00000008"]
    match = r"at 42 samples was not saved .* then the same command goes on"
    with no_large_files(), pytest.raises(CheckpointError, match=match):
        run(callback, trainer, task, steps=range(9, 19))
    callback.on_exception(trainer, task, KeyError())
    assert names(tmp_path) == ["000000000009-00000003", "000000000024-00000008"]


def test_a_failure_is_written_down_before_the_save_under_way_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, held = Heartbeat(tmp_path, rank=0), Event()
    monkeypatch.setattr(heartbeat, "_OWN", [heart])
    callback, trainer, task = parts(tmp_path)
    assert callback.saver is not None
    callback.saver.thread.submit(held.wait, 20)
    run(callback, trainer, task, steps=range(3))
    ending = Thread(target=callback.on_exception, args=(trainer, task, ConfigError("x.y is 3; set it to 4")))
    ending.start()
    while heart.phase != "save":
        ending.join(0.01)
        assert ending.is_alive()
    record = report.read(tmp_path, 0)
    assert record is not None
    assert (record.kind, record.text) == ("mistake", "x.y is 3; set it to 4")
    held.set()
    ending.join(20)
    assert heart.phase == "failed"
    assert names(tmp_path) == ["000000000009-00000003"]
    heart.stacks.close()


def test_after_a_failure_a_save_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "SAVING", 0.05)
    held = Event()
    callback, trainer, task = parts(tmp_path)
    assert callback.saver is not None
    callback.saver.thread.submit(held.wait, 20)
    run(callback, trainer, task, steps=range(3))
    callback.on_exception(trainer, task, KeyError())
    assert not held.is_set()
    assert callback.raised() == BUSY
    held.set()
    callback.teardown(trainer, task, "fit")


def test_the_settings_are_those_that_the_run_began_with(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path)
    (tmp_path / "config.yaml").write_text("a: 2\n", encoding="utf-8")
    run(callback, trainer, task, steps=range(3))
    callback.on_train_end(trainer, task)
    (path,) = (tmp_path / "checkpoints").iterdir()
    assert (path / "config.yaml").read_text(encoding="utf-8") == "a: 1\n"


def test_the_last_save_must_succeed(tmp_path: Path) -> None:
    callback, trainer, task = parts(tmp_path)
    with no_large_files():
        run(callback, trainer, task, steps=range(3))
        with pytest.raises(CheckpointError, match="at 9 samples was not saved"):
            callback.on_train_end(trainer, task)
    callback.on_train_end(trainer, task)
    assert names(tmp_path) == ["000000000009-00000003"]
