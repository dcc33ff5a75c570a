"""Samples while training: at each interval once, raw and averaged, and the recipe kept beside the checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from dit_video.callbacks.ema import Ema
from dit_video.callbacks.samples import Samples
from dit_video.errors import CheckpointError
from dit_video.pipeline import generate as generation
from dit_video.pipeline.recipe import Recipe
from dit_video.pipeline.request import Request
from dit_video.shapes import Compression, VideoShape


def batch(samples_seen: int, *, micro: int = 1, captions: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(place=SimpleNamespace(micro=micro, micros=2, samples_seen=samples_seen), captions=captions)


def trainer(**more: Any) -> Any:
    return SimpleNamespace(**({"is_global_zero": True, "callbacks": [], "logger": None} | more))


def watched(folder: Path, shown: list[int], monkeypatch: pytest.MonkeyPatch) -> Samples:
    """The callback of a run in `folder`, which writes what it shows."""

    def show(trainer: Any, task: Any, batch: Any) -> None:
        shown.append(batch.place.samples_seen)
        callback.write({"raw": [np.zeros((1, 16, 16, 3), np.uint8)]}, batch.place.samples_seen)

    callback = Samples(dir=str(folder), every_samples=100)
    callback.models = SimpleNamespace(recipe=SimpleNamespace(fps=8.0))  # type: ignore[assignment]
    monkeypatch.setattr(callback, "show", show)
    return callback


def test_intervals_are_sampled_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    callback = watched(tmp_path, shown, monkeypatch)
    for seen in range(30, 400, 30):
        for micro in (0, 1):
            callback.on_train_batch_end(trainer(), Any, None, batch(seen, micro=micro), 0)
        callback.on_train_batch_end(trainer(is_global_zero=False), Any, None, batch(seen + 100), 0)
    assert shown == [120, 210, 300]


@pytest.mark.parametrize(
    ("kept", "begin", "wanted"),
    [
        ([120, 210], 240, [300]),  # what stands is not made again
        ([120, 210], 210, [210, 300]),  # back before it: made again
        ([120], 210, [210, 300]),  # the first step after the resume fills the interval
        ([120], 240, [240, 300]),  # killed at 210, after the checkpoint and before the videos
        ([], 30, [120, 210, 300]),
    ],
)
def test_a_resumed_run_skips_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: list[int], begin: int, wanted: list[int]
) -> None:
    shown: list[int] = []
    callback = watched(tmp_path, shown, monkeypatch)
    for seen in kept:
        callback.write({"raw": [np.zeros((1, 16, 16, 3), np.uint8)]}, seen)
    for seen in range(begin, 330, 30):
        callback.on_train_batch_end(trainer(), Any, None, batch(seen), 0)
    assert shown == wanted


def test_a_missing_vae_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        Samples(dir=str(tmp_path), every_samples=5).on_fit_start(trainer(), Any)
    Samples(dir=str(tmp_path), every_samples=0).on_fit_start(trainer(), Any)


class Averages(Ema):
    """Says when the averaged weights are in."""

    def __init__(self) -> None:
        self.within = False

    @contextmanager
    def swapped(self) -> Iterator[None]:
        self.within = True
        yield
        self.within = False


def test_raw_and_averaged_weights_are_shown_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bool, bool, list[Request]]] = []
    task, averages = nn.Linear(1, 1), Averages()
    buckets = (VideoShape(frames=1, height=64, width=64), VideoShape(frames=5, height=16, width=24))
    recipe = Recipe(buckets=buckets, fps=8.0, compression=Compression(time=4, space=8, channels=4))

    def generate(requests: list[Request], **settings: Any) -> list[np.ndarray]:
        asked.append((averages.within, task.training, requests))
        return [np.zeros((5, 16, 24, 3), np.uint8) for _ in requests]

    monkeypatch.setattr(generation, "generate", generate)
    logged: list[Any] = []
    logger = SimpleNamespace(log_video=lambda *args, **settings: logged.append((args, settings)))
    callback = Samples(dir=str(tmp_path), every_samples=1)
    callback.models = SimpleNamespace(recipe=recipe)  # type: ignore[assignment]
    seen: Any = batch(12, captions=("a", "", "b", "a"))
    callback.show(trainer(callbacks=[averages], logger=logger), task, seen)  # type: ignore[arg-type]
    assert [(averaged, training) for averaged, training, _ in asked] == [(False, False), (True, False)]
    assert [(r.prompt, r.frames, r.height, r.width) for r in asked[0][2]] == [("a", 5, 16, 24), ("b", 5, 16, 24)]
    assert task.training
    names = [f"000000012-{kind}-{number}.mp4" for kind in ("raw", "ema") for number in (0, 1)]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == sorted(names)
    assert logged[0][1] == {"step": 12}
