from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.prepare.curation.clip import Rules
from datamodules.prepare.curation.dealing import deal
from datamodules.prepare.curation.sources import Source

RULES = Rules(max_seconds=2.0, min_seconds=0.5, crf=14)


@pytest.mark.parametrize(("files", "each", "count"), [(3, 256, 3), (100, 256, 8), (100, 3, 34), (1, 1, 1)])
def test_every_source_is_dealt_to_one_shard_and_shards_are_alike(files: int, each: int, count: int) -> None:
    sources = [Source(path=f"{at}.mp4", caption="") for at in range(files)]
    shards = deal(sources, RULES, folder=Path("raw"), dataset=Path("new"), shard_samples=each)
    dealt = [source for shard in shards for source in shard.sources]
    assert sorted(source.path for source in dealt) == sorted(source.path for source in sources)
    assert [shard.number for shard in shards] == list(range(count))
    sizes = {len(shard.sources) for shard in shards}
    assert max(sizes) - min(sizes) <= 1


def test_what_the_shards_hold_decides_their_plan() -> None:
    sources = [Source(path=f"{at}.mp4", caption="") for at in range(4)]

    def plan(given: list[Source], rules: Rules = RULES) -> str:
        shards = deal(given, rules, folder=Path("raw"), dataset=Path("new"), shard_samples=2)
        (found,) = {shard.plan for shard in shards}
        return found

    assert plan(sources) == plan(list(sources))
    assert plan(sources) != plan(sources[:3])
    assert plan(sources) != plan([*sources[:3], Source(path="3.mp4", caption="other")])
    assert plan(sources) != plan(sources, Rules(max_seconds=3.0, min_seconds=0.5, crf=14))
