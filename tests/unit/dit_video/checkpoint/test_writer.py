from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dit_video.checkpoint import manifest
from dit_video.checkpoint.pieces import own
from dit_video.checkpoint.writer import Hashed, write


def test_entries_are_those_of_the_files(tmp_path: Path) -> None:
    entries = write(tmp_path, own({"model": {"w": torch.randn(300, 40), "n": torch.tensor(3)}}))
    assert entries == {path.name: manifest.entry(path) for path in tmp_path.iterdir()}
    assert set(entries) == {"__0_0.distcp", ".metadata"}


def test_a_full_disk_is_said_as_the_system_says_it() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        hashed = Hashed(file)  # type: ignore[arg-type]
        with pytest.raises((OSError, RuntimeError)):
            torch.save(torch.ones(3), hashed)
        assert hashed.failure is not None
        assert hashed.failure.strerror == "No space left on device"
