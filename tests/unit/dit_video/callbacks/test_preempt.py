from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dit_video.callbacks.preempt import Preempt

TASK: Any = SimpleNamespace(device=torch.device("cpu"))


def batch(micro: int) -> Any:
    return SimpleNamespace(place=SimpleNamespace(micro=micro, micros=2))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_at_the_end_of_the_step(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    callback, trainer = Preempt(), SimpleNamespace(should_stop=False)
    callback.on_train_start(trainer, TASK)  # type: ignore[arg-type]
    try:
        callback.on_train_batch_end(trainer, TASK, None, batch(1), 0)  # type: ignore[arg-type]
        assert not trainer.should_stop
        os.kill(os.getpid(), number)
        callback.on_train_batch_end(trainer, TASK, None, batch(0), 0)  # type: ignore[arg-type]
        assert not trainer.should_stop
        callback.on_train_batch_end(trainer, TASK, None, batch(1), 1)  # type: ignore[arg-type]
        assert trainer.should_stop
        assert callback.stopped
    finally:
        callback.teardown(trainer, TASK, "fit")  # type: ignore[arg-type]
    assert signal.getsignal(number) == before
