"""One SLURM for all tests of this folder: they run in one worker, one after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.cluster import Cluster, lacking


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "slurm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("slurm"))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; without SLURM's programs a test is skipped, unless DIT_VIDEO_NEEDS_SLURM=1 says they are here."""
    if (missing := lacking()) and os.environ.get("DIT_VIDEO_NEEDS_SLURM") != "1":
        pytest.skip(f"no {', '.join(missing)} here; apt-get install slurmctld slurmd slurm-client munge")
    with Cluster(tmp_path_factory.mktemp("slurm"), nodes=3) as cluster:
        yield cluster
