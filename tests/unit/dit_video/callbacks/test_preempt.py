from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dit_video.callbacks.preempt import REQUEUE, Preempt, fit

TASK: Any = SimpleNamespace(device=torch.device("cpu"))


def batch(micro: int) -> Any:
    return SimpleNamespace(place=SimpleNamespace(micro=micro, micros=2))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_at_the_end_of_the_step(number: signal.Signals, code: int) -> None:
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
        assert (callback.stopped, callback.code) == (True, code)
    finally:
        callback.teardown(trainer, TASK, "fit")  # type: ignore[arg-type]
    assert signal.getsignal(number) == before


def test_a_second_interrupt_stops_at_once() -> None:
    callback = Preempt()
    callback.on_train_start(SimpleNamespace(should_stop=False), TASK)  # type: ignore[arg-type]
    try:
        os.kill(os.getpid(), signal.SIGINT)
        assert callback.flag
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        callback.teardown(SimpleNamespace(), TASK, "fit")  # type: ignore[arg-type]


def trained(*, end: BaseException | None, stopped: bool = False, context: BaseException | None = None) -> int:
    """The exit code of a training that ends in such a way."""
    callback = Preempt()
    callback.stopped = stopped

    def work(task: Any, datamodule: Any) -> None:
        if end is not None:
            end.__context__ = context
            raise end

    return fit(SimpleNamespace(fit=work, callbacks=[callback]), TASK, datamodule=TASK)  # type: ignore[arg-type]


def test_the_exit_code_says_how_training_ended() -> None:
    assert trained(end=None) == 0
    assert trained(end=None, stopped=True) == REQUEUE
    assert trained(end=SIGTERMException()) == REQUEUE
    with pytest.raises(KeyboardInterrupt):
        trained(end=SystemExit(1), context=KeyboardInterrupt())
    with pytest.raises(SystemExit):
        trained(end=SystemExit(3))
