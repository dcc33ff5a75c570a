"""Samples while training: at each interval once, raw and averaged, and the recipe kept beside the checkpoints."""

from __future__ import annotations

import json
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
from dit_video.pipeline import generate as generation
from dit_video.pipeline.request import Recipe, Request
from dit_video.shapes import Compression, VideoShape


def batch(samples_seen: int, *, micro: int = 1, captions: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(place=SimpleNamespace(micro=micro, micros=2, samples_seen=samples_seen), captions=captions)


def trainer(**more: Any) -> Any:
    return SimpleNamespace(**({"is_global_zero": True, "callbacks": [], "logger": None} | more))


def test_the_recipe_is_kept(tmp_path: Path) -> None:
    data = SimpleNamespace(latents=SimpleNamespace(recipe={"fps": 8.0}))
    Samples(dir=str(tmp_path), every_samples=0).on_fit_start(trainer(datamodule=data), Any)
    assert json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8")) == {"fps": 8.0}


def test_intervals_are_sampled_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    callback = Samples(dir=str(tmp_path), every_samples=100)
    monkeypatch.setattr(callback, "show", lambda trainer, task, batch: shown.append(batch.place.samples_seen))
    for seen in range(30, 400, 30):
        for micro in (0, 1):
            callback.on_train_batch_end(trainer(), Any, None, batch(seen, micro=micro), 0)
    assert shown == [120, 210, 300]
    other = Samples(dir=str(tmp_path), every_samples=100)  # of a run resumed at 390
    monkeypatch.setattr(other, "show", lambda trainer, task, batch: shown.append(batch.place.samples_seen))
    for seen in (390, 420):
        other.on_train_batch_end(trainer(), Any, None, batch(seen), 0)
        other.on_train_batch_end(trainer(is_global_zero=False), Any, None, batch(seen + 100), 0)
    assert shown == [120, 210, 300, 420]


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
