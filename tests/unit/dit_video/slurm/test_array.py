from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dit_video.errors import ClusterError, ConfigError
from dit_video.slurm import array
from dit_video.slurm.client import Job, parse
from dit_video.slurm.settings import Slurm

if TYPE_CHECKING:
    from fake.cluster import Cluster

STAGE = array.Stage(
    name="encode-vae",
    dataset=Path("data set"),
    command=("-m", "datamodules.prepare", "step=encode", "vae=a run"),
    shards=40,
    missing=(1, 5, 6),
    ended=True,
    parted=True,
    mounts=(),
    slurm=Slurm(concurrent=4),
)


def alive(*ids: str) -> list[Job]:
    """Jobs by their ids, `12_3` or `12_[4-9%2]`, as SLURM would tell of them."""
    told = [f"JobId=99 ArrayJobId={name.split('_')[0]} ArrayTaskId={name.split('_')[1].strip('[]')}" for name in ids]
    return [parse(f"{line} JobName=x JobState=RUNNING WorkDir=/") for line in told]


@pytest.mark.parametrize("numbers", [[0], [0, 1, 2], [0, 2, 3, 9], [], [7, 8]])
def test_numbers_are_read_as_they_are_spelled(numbers: list[int]) -> None:
    spelled = array.spelled(numbers)
    assert array.numbers(f"[{spelled}%4]") == numbers
    assert spelled.count("-") <= 2


def test_there_is_an_element_a_shard_up_to_some_rounds_and_what_slurm_takes() -> None:
    assert STAGE.parts(1000) == 8 * 4
    assert STAGE.parts(25) == 25
    assert replace(STAGE, shards=20).parts(1000) == 20
    assert replace(STAGE, slurm=Slurm(shards_per_task=1)).parts(1000) == 40
    assert replace(STAGE, parted=False).parts(1000) == 1
    wide = replace(STAGE, shards=100_000, slurm=Slurm(shards_per_task=100))
    assert wide.parts(1000) == 1000
    with pytest.raises(ConfigError, match="set at least 200"):
        wide.parts(500)


@pytest.mark.parametrize("parts", [1, 7, 40])
def test_the_elements_are_those_whose_parts_have_a_missing_shard(parts: int) -> None:
    found = array.elements(STAGE.missing, STAGE, parts=parts)
    assert {shard for shard in range(40) if shard % parts in found} >= set(STAGE.missing)
    assert all(any(shard % parts == element for shard in STAGE.missing) for element in found)


def test_what_follows_the_last_shard_is_one_elements_work_when_nobody_is_at_it() -> None:
    whole = replace(STAGE, missing=())
    assert array.elements((), whole, parts=40) == []
    assert array.elements((), replace(whole, ended=False), parts=40) == [0]
    assert array.elements((), replace(whole, ended=False), parts=40, alone=False) == []


def test_shards_in_hand_are_those_of_the_parts_that_were_submitted() -> None:
    rows = [{"job": "12", "parts": 10}, {"job": "13", "parts": 40}]
    found = array.under_way(alive("12_3", "13_[4-5%2]", "99_0"), rows, shards=40, parts=20)
    assert found == {3, 13, 23, 33, 4, 5, 0, 20}


def test_the_script_is_bash_with_one_part_an_element() -> None:
    text = array.Stage.text(STAGE, [1, 5, 6], parts=40)
    assert "#SBATCH --array=1,5-6%4" in text
    assert "'vae=a run' part=\"$SLURM_ARRAY_TASK_ID/40\" &" in text
    assert "@" not in text.replace("@120", "")
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert "part=" not in replace(STAGE, parted=False).text([0], parts=1)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Eight stills."""
    import numpy as np

    from dit_video.media.image import write_image

    (tmp_path / "raw").mkdir()
    for at in range(8):
        write_image(tmp_path / "raw" / f"{at}.png", np.full((32, 32, 3), 20 * at, np.uint8))
    return tmp_path / "raw"


def test_what_is_killed_is_missing_and_only_that_is_submitted_again(
    slurm: Cluster, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fake import arrays

    from datamodules.prepare import __main__ as command
    from datamodules.prepare.curate import curate

    data, one = tmp_path / "many", tmp_path / "one"
    more = ("run.submit.concurrent=2", "run.submit.shards_per_task=2", "run.submit.requeues=0")

    def submitted() -> str:
        monkeypatch.setattr(sys, "argv", ["prepare"])
        command.main(["step=curate", f"source={raw}", "workers=0", f"dataset={data}", "run.submit=slurm", *more])
        return capsys.readouterr().out

    job = arrays.job_of(submitted())
    assert "queued or runs already" in submitted()
    os.kill(arrays.task(slurm, job, 1), signal.SIGKILL)
    assert arrays.watch(slurm, job, seconds=120) <= 2
    stood = {path: path.stat().st_mtime_ns for path in sorted((data / "index").glob("*.parquet"))}
    lost = sorted({f"{number:06d}" for number in range(8)} - {path.stem for path in stood})
    assert lost
    assert set(lost) <= {"000001", "000005"}, "shards of the element that was killed"
    arrays.watch(slurm, arrays.job_of(submitted()), seconds=120)
    rows = (data / "slurm" / "curate" / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["elements"] for row in rows] == ["0-3", "1"]
    assert {path: path.stat().st_mtime_ns for path in stood} == stood
    assert "all 8 shards stand" in submitted()
    curate(source=str(raw), dataset=str(one), workers=0)
    assert arrays.differences(one, data) == []


def test_of_an_array_that_slurm_refuses_nothing_is_left(slurm: Cluster, tmp_path: Path) -> None:
    stage = replace(STAGE, dataset=tmp_path, slurm=Slurm(partition="nope"))
    with pytest.raises(ClusterError, match=r"run\.submit\.partition, one of main, high"):
        array.submit(stage, [0], parts=3)
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import os, subprocess, sys, time
part, start = sys.argv[-1], int(os.environ.get("SLURM_RESTART_COUNT", 0))
if part == "part=2/4": sys.exit(2)
if part == "part=3/4" and not start:  # as SLURM does before the time is over
    own = os.environ["SLURM_ARRAY_JOB_ID"] + "_3"  # the job's number alone may be that of the whole array
    subprocess.run(["scancel", "--batch", "--signal=USR1", own])
    time.sleep(600)
if part == "part=1/4" or not start: os.kill(os.getpid(), 9)
"""


def test_an_element_that_is_killed_begins_again_by_itself_and_a_mistake_does_not(
    slurm: Cluster, tmp_path: Path
) -> None:
    from fake import arrays

    (tmp_path / "element.py").write_text(PROGRAM, encoding="utf-8")
    stage = replace(STAGE, dataset=tmp_path, command=(str(tmp_path / "element.py"),), shards=4, missing=(0, 1, 2, 3))
    stage = replace(stage, slurm=Slurm(requeues=1, python=sys.executable))
    job = array.submit(stage, [0, 1, 2, 3], parts=4)
    arrays.watch(slurm, job, seconds=120)
    told = [slurm.job(f"{job}_{number}") for number in range(4)]
    assert [each["JobState"] for each in told] == ["COMPLETED", "FAILED", "FAILED", "COMPLETED"]
    assert [each["Restarts"] for each in told] == ["1", "1", "0", "1"]
    assert [each["ExitCode"] for each in told] == ["0:0", "137:0", "2:0", "0:0"]
