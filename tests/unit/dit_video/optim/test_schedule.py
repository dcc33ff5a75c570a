from __future__ import annotations

import pytest

from dit_video.errors import ConfigError
from dit_video.optim.schedule import Constant, Cosine, Trapezoid


@pytest.mark.parametrize(
    "schedule", [Constant(warmup=10), Cosine(total=100, warmup=10), Trapezoid(total=100, warmup=10)]
)
def test_warm_up_is_linear_and_reaches_one(schedule: Constant | Cosine | Trapezoid) -> None:
    assert [schedule(n) for n in (0, 5, 10)] == [0.0, 0.5, 1.0]


def test_cosine_is_symmetric_about_its_middle_and_stays_at_the_floor() -> None:
    schedule = Cosine(total=110, warmup=10, floor=0.2)
    assert schedule(60) == pytest.approx(0.6)
    assert schedule(30) - 0.6 == pytest.approx(0.6 - schedule(90))
    assert schedule(110) == schedule(500) == pytest.approx(0.2)


def test_trapezoid_decays_linearly_at_the_end() -> None:
    schedule = Trapezoid(total=100, warmup=10, decay=20, floor=0.1)
    assert schedule(80) == 1.0
    assert schedule(90) == pytest.approx(0.55)
    assert schedule(100) == schedule(120) == pytest.approx(0.1)


def test_no_warm_up_starts_at_one() -> None:
    assert Constant()(0) == Cosine(total=5)(0) == 1.0


def test_what_does_not_fit_into_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"optim\.schedule\.warmup"):
        Cosine(total=10, warmup=10)
    with pytest.raises(ConfigError, match=r"optim\.schedule\.decay"):
        Trapezoid(total=10, warmup=6, decay=5)
