"""Probing: headers as records, and what is refused before a frame is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media.probe import Limits, probe
from dit_video.media.write import write


def test_header(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", np.zeros((12, 32, 64, 3), np.uint8), fps=16)
    seen = probe(tmp_path / "a.mp4")
    assert (seen.codec, seen.pixel_format, seen.full_range, seen.streams) == ("h264", "yuv420p", False, 1)
    assert seen.seconds == pytest.approx(12 / 16)


def test_refusals(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", np.zeros((12, 32, 64, 3), np.uint8), fps=16)
    for limits in (Limits(pixels=2000), Limits(frames=2), Limits(seconds=0.1)):
        with pytest.raises(DataError, match="limit"):
            probe(tmp_path / "a.mp4", limits=limits)
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="not a readable video"):
        probe(tmp_path / "b.mp4")
