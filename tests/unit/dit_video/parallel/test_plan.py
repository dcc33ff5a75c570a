from __future__ import annotations

import pytest

from dit_video.errors import ConfigError
from dit_video.parallel.plan import Plan


def test_replicas_take_what_is_left() -> None:
    assert Plan().fill(8) == Plan(replicate=8)
    assert Plan(replicate=2).fill(2) == Plan(replicate=2)


def test_a_plan_for_another_number_of_processes_names_both() -> None:
    with pytest.raises(ConfigError, match=r"needs 4 processes and the trainer starts 2"):
        Plan(replicate=4).fill(2)


@pytest.mark.parametrize("name", ["shard", "sequence"])
def test_what_is_not_built_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"parallel.{name}"):
        Plan(**{name: 2}).fill(2)
    with pytest.raises(ConfigError, match="at least 1"):
        Plan(**{name: 0}).fill(2)
