"""Parts come back as they were kept; a torn one is none."""

from __future__ import annotations

import math
from pathlib import Path

from datamodules.prepare.curation import parts
from datamodules.prepare.curation.clip import Dropped, Found, Sample


def test_there_and_back(tmp_path: Path) -> None:
    sample = Sample(
        suffix="mp4", media=b"\x00\xff", row={"seconds": 1.5}, scores={"motion": 0.1, "hashes": [2**64 - 1]}
    )
    piece = Dropped(reason="a fade: slow", start_seconds=1.0, seconds=0.5, thumbnail=b"\xff\xd8")
    found = Found(samples=[sample, sample], dropped=[piece])
    parts.save(tmp_path / "deep" / "00001", found)
    assert parts.load(tmp_path / "deep" / "00001") == found
    assert parts.load(tmp_path / "deep" / "00002") is None


def test_nan_comes_back_as_nan(tmp_path: Path) -> None:
    parts.save(tmp_path / "0", parts.refused("why", None))
    again = parts.load(tmp_path / "0")
    assert again is not None
    assert math.isnan(again.dropped[0].seconds)


def test_torn_is_none(tmp_path: Path) -> None:
    sample = Sample(suffix="mp4", media=b"x", row={}, scores={})
    parts.save(tmp_path / "0", Found(samples=[sample], dropped=[]))
    assert parts.load(tmp_path / "0") is not None
    (tmp_path / "0.0").write_bytes(b"")  # as after a loss of power
    assert parts.load(tmp_path / "0") is None
    (tmp_path / "0.0").unlink()
    assert parts.load(tmp_path / "0") is None
    (tmp_path / "0.json").write_text('{"samples": [')
    assert parts.load(tmp_path / "0") is None
