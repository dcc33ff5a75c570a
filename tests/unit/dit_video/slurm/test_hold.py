from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dit_video.errors import ConfigError
from dit_video.slurm import hold

OTHER = """
import sys
from pathlib import Path
from dit_video.slurm import hold
with hold.held(Path(sys.argv[1]), key="run.dir", patience=float(sys.argv[2])):
    print("held", flush=True)
"""


def other(folder: Path, patience: float) -> subprocess.CompletedProcess[str]:
    """Another process that would hold the folder."""
    command = [sys.executable, "-c", OTHER, str(folder), str(patience)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_at_a_time_holds_a_folder_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "a/slurm"
    with hold.held(folder, key="run.dir"):
        assert "is being submitted by another process" in other(folder, 0.1).stderr
    assert list(tmp_path.iterdir()) == []
    assert other(folder, 0.1).stdout == "held\n"
    with hold.held(folder, key="run.dir"):
        (folder / "job.sbatch").touch()
    assert (folder / "job.sbatch").exists()


@pytest.mark.parametrize("place", ["/proc/x", "file/x"])
def test_a_folder_that_cannot_be_made_is_one_line_with_its_key(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=rf"run\.dir: {tmp_path / place} cannot be written to .* another run\.dir"),
        hold.held(tmp_path / place, key="run.dir"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
