from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.callbacks import throughput
from dit_video.callbacks.throughput import Throughput
from dit_video.errors import ConfigError
from dit_video.ops.layout import conditioned, join, padding
from dit_video.parallel.plan import Plan


def test_rates_are_those_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 6.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(now))
    callback, trainer = Throughput(), SimpleNamespace(world_size=2, train_dataloader=SimpleNamespace(waited=0.5))
    for step in range(2):
        for micro in range(2):
            place = Place(step=step, samples_seen=12 * (step + 1), micro=micro, micros=2, packs=(), step_weight=1.0)
            video = torch.zeros(3, 3, 5, 2, 2)
            batch = ClipBatch(video=video, weight=torch.ones(3), captions=(), keys=(), fps=8.0, place=place)
            callback.on_train_batch_end(Any, Any, None, batch, 0) if micro == 0 else None  # type: ignore[arg-type]
            if micro == 1:
                trainer.train_dataloader.waited += step
                callback.on_train_batch_end(trainer, Any, None, batch, 0)  # type: ignore[arg-type]
        if step == 0:
            assert callback.measures() == {"frames_per_second": 2 * 30 / 2.0}
    assert callback.measures() == {"frames_per_second": 15.0, "samples_per_second": 3.0, "data_wait": 0.25}


class Task:
    """A forward over a clip costs its tokens times its latent frames times 10^9."""

    plan = Plan(replicate=2, sequence=2)

    def flops(self, *, tokens: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return tokens * frames * 10**9


def test_sequence_ranks_count_once_and_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(now))
    latents = [torch.zeros(4, frames, 2, 2) for frames in (3, 1)]
    clips = [conditioned(latent, tail=None, pattern="none", cut=0, patch=1) for latent in latents]
    data, weight, layout = join([*clips, padding(4, 4)])
    names: Any = dict.fromkeys(("keys", "captions", "sources"), ("a", "b", ""))
    callback, trainer = Throughput(tflops=0.5), SimpleNamespace(world_size=4, train_dataloader=None)
    for step in range(2):
        place = Place(step=step, samples_seen=4 * (step + 1), micro=0, micros=1, packs=((0, 0),), step_weight=1.0)
        pack = torch.zeros(len(data), dtype=torch.int64)
        batch = PackBatch(data=data, weight=weight, pack=pack, layout=layout, place=place, **names)
        callback.on_train_batch_end(trainer, Task(), None, batch, 0)  # type: ignore[arg-type]
    flops = 3 * (12 * 3 + 4 * 1) * 1e9
    assert callback.measures() == {
        "tokens_per_second": 2 * 20 / 2.0,
        "samples_per_second": 2.0,
        "mfu": pytest.approx(flops / 2 / 2.0 / 0.5e12),
    }


def test_a_device_that_can_do_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.throughput\.tflops"):
        Throughput(tflops=0.0)
