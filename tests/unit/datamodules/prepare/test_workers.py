from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from datamodules.prepare import workers
from dit_video.errors import DataError


def work(task: tuple[Path, str], skip: Mapping[str, str], report: workers.Report) -> None:
    """Three items; the second does what the task says."""
    folder, harm = task
    lines = []
    for at in range(3):
        item = f"{harm}{at}"
        report(item)
        if item in skip:
            lines.append(skip[item])
        elif at == 1 and harm == "crash":
            os.abort()
        elif at == 1 and harm == "hang":
            time.sleep(60)
        elif at == 1 and harm == "again" and not (folder / "once").exists():
            (folder / "once").touch()
            raise workers.Again
        elif at == 1 and harm == "mistake":
            raise DataError("a mistake")
        else:
            lines.append("fine")
    (folder / harm).write_text("\n".join(lines))


def test_crashes_and_hangs_cost_their_item(tmp_path: Path) -> None:
    tasks = [(tmp_path, harm) for harm in ("none", "crash", "hang")]
    items = list(workers.run(work, tasks, processes=2, seconds=2.0, memory_gb=64))
    assert sorted(items) == sorted(f"{harm}{at}" for harm in ("none", "crash", "hang") for at in range(3))
    assert (tmp_path / "none").read_text() == "fine\nfine\nfine"
    assert "crashed (exit code -6)" in (tmp_path / "crash").read_text()
    assert "longer than 2 seconds" in (tmp_path / "hang").read_text()


@pytest.mark.parametrize("processes", [0, 1])
def test_mistakes_come_through(tmp_path: Path, processes: int) -> None:
    with pytest.raises(DataError, match="a mistake"):
        list(workers.run(work, [(tmp_path, "mistake")], processes=processes, seconds=20.0, memory_gb=64))


@pytest.mark.parametrize("processes", [0, 1])
def test_a_task_may_ask_for_a_fresh_process(tmp_path: Path, processes: int) -> None:
    items = list(workers.run(work, [(tmp_path, "again")], processes=processes, seconds=20.0, memory_gb=64))
    assert items == ["again0", "again1", "again2"]
    assert (tmp_path / "again").read_text() == "fine\nfine\nfine"
