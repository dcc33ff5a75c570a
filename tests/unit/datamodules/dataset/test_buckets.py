from __future__ import annotations

import pytest

from datamodules.dataset.buckets import buckets, generated, listed
from dit_video.errors import ConfigError
from dit_video.shapes import VideoShape


def test_listed_takes_aspect_then_size_then_frames() -> None:
    table = listed(["17x48x48", "9x48x48", "1x48x48", "17x32x64", "1x32x64", "17x96x96"], time=4, multiple=16)
    assert table.choose(frames=24, height=50, width=52) == VideoShape(frames=17, height=48, width=48)
    assert table.choose(frames=24, height=200, width=200) == VideoShape(frames=17, height=96, width=96)
    assert table.choose(frames=12, height=200, width=200) == VideoShape(frames=9, height=48, width=48)
    assert table.choose(frames=1, height=30, width=60) == VideoShape(frames=1, height=32, width=64)
    assert table.choose(frames=24, height=8, width=8) == VideoShape(frames=17, height=48, width=48)
    assert listed(["17x48x48"], time=4, multiple=16).choose(frames=16, height=48, width=48) is None


def test_generated_keeps_budget_multiples_and_aspects() -> None:
    table = generated(pixels=128 * 128, frames=19, time=4, multiple=16)
    for shape in table.shapes():
        assert shape.height * shape.width <= 128 * 128
        assert shape.height % 16 == shape.width % 16 == (shape.frames - 1) % 4 == 0
        assert 0.25 <= shape.aspect <= 4
        assert shape.frames <= 19
    assert table.choose(frames=60, height=144, width=176) == VideoShape(frames=17, height=112, width=144)
    native = table.choose(frames=60, height=64, width=96)
    assert native == VideoShape(frames=17, height=64, width=96)


@pytest.mark.parametrize("text", ["17x48", "16x48x48", "17x40x48", "0x48x48", "17x48x-48", "axbxc"])
def test_impossible_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.sizes"):
        buckets(sizes=[text], pixels=0, frames=0, time=4, multiple=16)


def test_impossible_budgets_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.pixels"):
        buckets(sizes=None, pixels=100, frames=17, time=4, multiple=16)
    with pytest.raises(ConfigError, match=r"datamodules\.frames"):
        buckets(sizes=None, pixels=4096, frames=0, time=4, multiple=16)
