from __future__ import annotations

import pytest

from dit_video import config
from dit_video.errors import ConfigError


def test_a_run_needs_samples() -> None:
    with pytest.raises(ConfigError, match=r"run\.samples"):
        config.Run(name="a", dir="b", seed=0, samples=0, every_samples=1)
