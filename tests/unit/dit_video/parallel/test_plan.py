from __future__ import annotations

import pytest

from dit_video.errors import ConfigError
from dit_video.parallel.plan import Plan


def test_replicas_take_what_is_left() -> None:
    assert Plan().fill(8) == Plan(replicate=8)
    assert Plan(replicate=2).fill(2) == Plan(replicate=2)
    assert Plan(shard=2, sequence=2).fill(8) == Plan(replicate=2, shard=2, sequence=2)


def test_a_plan_for_another_number_of_processes_names_both() -> None:
    with pytest.raises(ConfigError, match=r"needs 4 x 1 x 1 = 4 processes and the trainer starts 2"):
        Plan(replicate=4).fill(2)
    with pytest.raises(ConfigError, match=r"needs 1 x 2 x 3 = 6 processes and the trainer starts 4"):
        Plan(shard=2, sequence=3).fill(4)


def test_sequence_ranks_read_the_same_packs_and_every_pack_is_read() -> None:
    plan = Plan(shard=2, sequence=2).fill(8)
    assert [plan.data_rank(rank) for rank in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert plan.data_ranks == 4


@pytest.mark.parametrize("name", ["replicate", "shard", "sequence"])
def test_nothing_is_less_than_one(name: str) -> None:
    with pytest.raises(ConfigError, match=f"parallel.{name} must be at least 1, got 0"):
        Plan(**{name: 0})


def test_a_way_of_recomputing_that_is_unknown_is_refused() -> None:
    with pytest.raises(ConfigError, match="none, selective, full"):
        Plan(recompute="some")


def test_the_compiler_and_selective_recompute_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="none or full"):
        Plan(recompute="selective", compile=True)


def test_heads_and_packs_must_divide() -> None:
    plan = Plan(sequence=4)
    plan.check(heads=[8, 4], length=1024)
    with pytest.raises(ConfigError, match="the 6 heads"):
        plan.check(heads=[8, 6], length=1024)
    with pytest.raises(ConfigError, match="the 1022 tokens"):
        plan.check(heads=[8], length=1022)
    with pytest.raises(ConfigError, match=r"parallel.sequence=1"):
        plan.check(heads=[8], length=None)
    Plan(shard=2).check(heads=[7], length=None)
