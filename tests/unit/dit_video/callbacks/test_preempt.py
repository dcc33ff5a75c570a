from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dit_video.callbacks.preempt import Preempt, fit
from dit_video.signals import INTERRUPTED, LISTENER, REQUEUE, STOPPING

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import stops
from fake.ranks import run_ranks


class Saver:
    """A callback with a flag, which keeps what all ranks agree on."""

    def __init__(self, flag: int) -> None:
        self.flag, self.heard = flag, -1

    def raised(self) -> int:
        return self.flag

    def agreed(self, flag: int) -> None:
        self.heard = flag


def batch(micro: int) -> Any:
    return SimpleNamespace(place=SimpleNamespace(micro=micro, micros=2))


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Nothing has been signalled, and the handlers of pytest come back."""
    numbers = (*STOPPING, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    LISTENER.code = 0
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("code", [REQUEUE, INTERRUPTED])
def test_a_signal_stops_at_the_end_of_the_step(code: int) -> None:
    callback, trainer = Preempt(), SimpleNamespace(should_stop=False, callbacks=[])
    callback.on_train_start(trainer, Any)  # type: ignore[arg-type]
    callback.on_train_batch_end(trainer, Any, None, batch(1), 0)  # type: ignore[arg-type]
    assert not trainer.should_stop
    LISTENER.code = code
    callback.on_train_batch_end(trainer, Any, None, batch(0), 0)  # type: ignore[arg-type]
    assert not trainer.should_stop
    callback.on_train_batch_end(trainer, Any, None, batch(1), 1)  # type: ignore[arg-type]
    assert (trainer.should_stop, callback.code) == (True, code)


def test_before_the_first_step_it_stops_at_once() -> None:
    LISTENER.code = REQUEUE
    with pytest.raises(SIGTERMException):
        Preempt().on_train_start(SimpleNamespace(callbacks=[]), Any)  # type: ignore[arg-type]


def agreement(rank: int, signalled: int) -> tuple[bool, int, list[int]]:
    """What a rank makes of a signal to rank `signalled`, and of the flags of two callbacks."""
    LISTENER.code = REQUEUE if rank == signalled else 0
    callback, savers = Preempt(), [Saver(rank), Saver(0)]
    trainer: Any = SimpleNamespace(should_stop=False, callbacks=[savers[0], callback, savers[1]])
    callback.on_train_batch_end(trainer, Any, None, batch(1), 0)  # type: ignore[arg-type]
    return trainer.should_stop, callback.code, [saver.heard for saver in savers]


def test_all_ranks_hear_a_signal_to_one_and_the_flags_of_others() -> None:
    assert run_ranks(agreement, 2, 1) == [(True, REQUEUE, [1, 0])] * 2
    assert run_ranks(agreement, 2, -1) == [(False, 0, [1, 0])] * 2


def trained(*, end: BaseException | None, code: int = 0, context: BaseException | None = None) -> int:
    """The exit code of a training that ends in such a way."""
    callback = Preempt()
    callback.code = code

    def work(task: Any, datamodule: Any) -> None:
        if end is not None:
            end.__context__ = context
            raise end

    trainer: Any = SimpleNamespace(fit=work, callbacks=[callback], _signal_connector=SimpleNamespace())
    return fit(trainer, Any, datamodule=Any)  # type: ignore[arg-type]


def test_the_exit_code_says_how_training_ended() -> None:
    assert trained(end=None) == 0
    assert trained(end=None, code=REQUEUE) == REQUEUE
    assert trained(end=SIGTERMException(), code=REQUEUE) == REQUEUE
    with pytest.raises(KeyboardInterrupt):
        trained(end=SystemExit(1), context=KeyboardInterrupt())
    with pytest.raises(SystemExit):
        trained(end=SystemExit(3))


@pytest.mark.timeout(300)
def test_a_signal_to_one_rank_saves_once_and_the_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    chosen = [
        stops.Stop(names=("SIGUSR1", "SIGTERM"), ranks=(1,), moment="save", step=6),
        stops.Stop(names=("SIGTERM",), ranks=(0,), moment="start"),
    ]
    assert stops.tried(chosen, tmp_path) == {"tried": 2, "clean": 2, "wrong": []}
