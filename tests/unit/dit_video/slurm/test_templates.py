"""The batch scripts as bash runs them, without a cluster: what they do where SLURM's programs fail, or signals come."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dit_video.slurm import script

STUBS = {
    # a call a line; $FAIL of a kind fail before each that does not, as where the controller is away
    "scontrol": """
        echo "$1" "$2" >>calls
        if [ "$2" != hostnames ] && [[ $FAIL == "$1:"* ]]; then
            echo >>failed
            if [ "$(wc -l <failed)" -le "${FAIL#*:}" ]; then exit 1; fi
            rm failed
        fi
        if [ "$1" = requeue ]; then echo COMPLETING >state; fi
        echo "JobId=7 JobState=$(cat state) Requeue=1 Restarts=0 NodeAddr=n0 "
    """,
    "srun": """
        case $* in *dit_video.slurm.settle*) echo "requeue 1 0" >"$DIT_VIDEO_ATTEMPT/verdict" ;; *) exit 137 ;; esac
    """,
    "sleep": 'echo "sleep $1" >>calls',
}
VALUES = {"title": "a", "options": "", "run": "run", "wait": "1", "tasks": "1", "srun": "", "python": "python"}
VALUES |= {"command": "train.py", "requeues": "3", "grace": "60", "part": "", "setup": ""}
NUMBERS = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_NODELIST": "n0"}


def calls(folder: Path, template: str, *, fail: str = "", state: str = "RUNNING", setup: str = "") -> list[str]:
    """What a script asked of scontrol, and how long it slept; its ranks were killed."""
    (folder / "state").write_text(state)
    for name, text in STUBS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script.fill(template, VALUES | {"setup": setup})],
        cwd=folder,
        env={**os.environ, **NUMBERS, "PATH": path, "FAIL": fail, "SLURMD_NODENAME": "n0"},
        timeout=30,
        check=False,
    )
    assert done.returncode == (1 if template == "train" else 137)
    return (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("template", ["train", "array"])
@pytest.mark.parametrize("fail", ["", "show:1", "show:4", "requeue:1", "requeue:4"])
def test_a_controller_that_is_away_for_a_moment_ends_no_job(tmp_path: Path, template: str, fail: str) -> None:
    kind, _, times = fail.partition(":")
    found = calls(tmp_path, template, fail=fail)
    assert found.count("sleep 10") >= int(times or 0)
    assert (tmp_path / "state").read_text() == "COMPLETING\n"
    requeued = [call for call in found if call.startswith("requeue")]
    assert len(requeued) == 1 + (int(times or 0) if kind == "requeue" else 0)
    if template == "train":
        assert found.index("update JobId=7") > found.index("requeue 7")


@pytest.mark.parametrize("template", ["train", "array"])
@pytest.mark.parametrize(("fail", "state"), [("", "COMPLETING"), ("show:99", "RUNNING"), ("requeue:99", "RUNNING")])
def test_a_job_that_was_cancelled_or_of_which_nothing_is_heard_ends(
    tmp_path: Path, template: str, fail: str, state: str
) -> None:
    found = calls(tmp_path, template, fail=fail, state=state)
    assert (tmp_path / "state").read_text() == state
    assert bool([call for call in found if call.startswith("requeue")]) == ("requeue" in fail)
    assert len(found) < 60


@pytest.mark.parametrize(("template", "signal"), [("train", "USR1"), ("train", "TERM"), ("array", "USR1")])
def test_a_signal_while_modules_load_stops_the_job_and_does_not_end_the_shell(
    tmp_path: Path, template: str, signal: str
) -> None:
    found = calls(tmp_path, template, setup=f"kill -{signal} $$; echo setup >>calls")
    assert "setup" in found
    assert any(call.startswith("requeue") for call in found)
    assert (tmp_path / "run" / "slurm" / "stop").exists() == (template == "train")
