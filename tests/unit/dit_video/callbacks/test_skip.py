from __future__ import annotations

import pytest

from dit_video.callbacks.skip import Skips
from dit_video.errors import ConfigError, UserError


def test_a_few_in_a_row_are_allowed_and_a_good_step_ends_the_row() -> None:
    skips = Skips("callbacks.finite", in_a_row=2, share=1.0)
    for step in (1, 2):
        skips.add(step, what="bad")
    skips.passed()
    for step in (4, 5):
        skips.add(step, what="bad")
    with pytest.raises(UserError, match=r"bad, in 3 steps in a row \(callbacks\.finite\.in_a_row=2\)"):
        skips.add(6, what="bad")


def test_a_small_share_of_all_steps_is_allowed() -> None:
    skips = Skips("callbacks.finite", in_a_row=2, share=0.01)
    for step in (100, 200, 300):
        skips.passed()
        skips.add(step, what="bad")
    skips.passed()
    with pytest.raises(UserError, match=r"bad, as in 4 of 310 steps"):
        skips.add(310, what="bad")


@pytest.mark.parametrize("settings", [{"in_a_row": -1, "share": 0.5}, {"in_a_row": 1, "share": 1.5}])
def test_limits_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.a needs"):
        Skips("callbacks.a", **settings)  # type: ignore[arg-type]
