from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dit_video.batch import ClipBatch, Place
from dit_video.callbacks import throughput
from dit_video.callbacks.throughput import Throughput


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
