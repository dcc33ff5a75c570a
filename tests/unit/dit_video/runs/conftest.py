from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import trained


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Makes runs by their names."""
    return lambda name="a", **more: trained.made(tmp_path / name, **more)


@pytest.fixture
def hold() -> Callable[[Path], AbstractContextManager[int]]:
    """Holds the lock of a run in a process of its own."""
    return trained.held
