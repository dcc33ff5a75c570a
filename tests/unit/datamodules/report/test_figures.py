from __future__ import annotations

import pytest

from datamodules.report import figures
from tests.unit.datamodules.report.conftest import plain

NONE = (float("nan"), "–")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.0001, "< 0.1 %"), (0.9999, "> 99.9 %"), (0.042, "4.2 %"), (0.5, "50 %"), NONE],
)
def test_shares_never_round_something_to_nothing(share: float, text: str) -> None:
    assert plain(figures.percent(share)) == text


@pytest.mark.parametrize(("seconds", "text"), [(8.23, "8.2 s"), (90, "1.5 min"), (7200, "2.0 h"), (9e6, "2,500 h")])
def test_footage(seconds: float, text: str) -> None:
    assert plain(figures.span(seconds)) == text


@pytest.mark.parametrize(("size", "text"), [(12, "12 bytes"), (1500, "1.5 kB"), (2.34e9, "2.34 GB"), (9e12, "9 TB")])
def test_bytes(size: float, text: str) -> None:
    assert plain(figures.volume(size)) == text


def test_nouns_and_units() -> None:
    assert figures.many(1, "clip") == "1 clip"
    assert figures.brief(9_999_999) == "9,999,999"
    assert plain(figures.brief(12_345_678)) == "12.3 M"
    assert figures.many(1234, "shard") == "1,234 shards"
    assert figures.big(figures.span(90)) == "1.5 <small>min</small>"
