"""What SLURM is told and asked, on a real one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fake.cluster import Cluster

from dit_video.errors import ClusterError
from dit_video.slurm import client

LINE = (
    "JobId=19 ArrayJobId=18 ArrayTaskId={task} JobName=a b=c UserId=root(0) JobState={state} Reason={reason} "
    "Restarts=2 ExitCode=0:9 TimeLimit=01:00:00 SubmitTime=2026-11-22T20:16:46 StartTime=Unknown EndTime=Unknown "
    "Partition=main NodeList=(null) Command=/a b/job.sbatch WorkDir=/a b StdOut=/a b/%% 1.out Power= "
)


@pytest.mark.parametrize(("task", "number"), [("3", "18_3"), ("4-9%2", "18_[4-9%2]")])
def test_a_line_is_a_job(task: str, number: str) -> None:
    job = client.parse(LINE.format(task=task, state="PENDING", reason="Job's_account_not_known"))
    assert (job.id, job.array, job.name, job.restarts, job.code) == (number, "18", "a b=c", 2, 137)
    assert (job.script, job.folder, job.output) == (Path("/a b/job.sbatch"), Path("/a b"), Path("/a b/% 1.out"))
    assert (job.started, job.nodes, job.over) == (None, "", False)
    assert job.reason == "Job's account not known"
    assert client.parse(LINE.format(task=task, state="CANCELLED", reason="None")).over


def test_what_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"has not answered sleep for 0\.1 s"):
        client.run(["sleep", "9"], seconds=0.1)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="there is no sbatch here"):
        client.submit(script(tmp_path, "true"))


def test_sbatch_names_the_option_and_the_script_holds_against_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path, "#SBATCH --partition=main")
    (tmp_path / "sbatch").write_text(
        "#!/bin/sh\necho ${SBATCH_OUTPUT}-${SBATCH_PARTITION}-${SBATCH_ACCOUNT}\n[ $# = 2 ] && exit\n"
        'printf "sbatch: unrecognized option \'$2\'\\nTry \\"sbatch --help\\" for more information\\n" >&2; exit 1\n'
    )
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("OUTPUT", "PARTITION", "ACCOUNT"):
        monkeypatch.setenv(f"SBATCH_{name}", name)
    assert client.submit(path) == "--ACCOUNT"
    with pytest.raises(ClusterError, match=r"^sbatch failed: unrecognized option '--foo'$"):
        client.submit(path, "--foo")


def test_a_controller_that_is_down_is_one_line(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = slurm.conf.read_text(encoding="utf-8").replace("MessageTimeout=10", "MessageTimeout=2")
    port = next(line for line in text.splitlines() if line.startswith("SlurmctldPort="))
    (tmp_path / "slurm.conf").write_text(text.replace(port, "SlurmctldPort=1"), encoding="utf-8")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(ClusterError, match="controller does not answer") as caught:
        client.submit(script(tmp_path, "true"))
    assert "\n" not in str(caught.value)


def test_a_job_from_its_submission_to_its_end(slurm: Cluster, tmp_path: Path) -> None:
    path = script(tmp_path, "sleep 100")
    number = client.submit(path, "--begin=now+100", "--exclude=node2", f"--output={tmp_path}/%j.out")
    job = client.job(number)
    assert job is not None
    assert (job.id, job.state, job.script, job.partition) == (number, "PENDING", path, "main")
    assert [found.id for found in client.made_of({path})] == [number]
    assert client.made_of({path.with_name("other")}) == []
    client.exclude(number, ["node1"])
    assert "ExcNodeList=node2,node1 " in client.run(["scontrol", "show", "job", "--oneliner", number])
    client.run(["scontrol", "update", f"JobId={number}", "StartTime=now"])
    state(number, "RUNNING")
    assert client.jobs([number])[0].nodes == "node3"
    client.requeue(number)
    state(number, "PENDING")
    assert client.jobs([number, "4000000"])[0].restarts == 1
    client.cancel(number)
    state(number, "CANCELLED")
    assert client.made_of({path}) == []
    assert client.job("4000000") is None
    assert client.jobs([]) == []


def test_elements_of_an_array_are_told_apart(slurm: Cluster, tmp_path: Path) -> None:
    number = client.submit(script(tmp_path, "exit $SLURM_ARRAY_TASK_ID"), "--array=0-1", "--output=/dev/null")
    slurm.wait(number, 60)
    assert {job.id: job.code for job in client.jobs([number])} == {f"{number}_0": 0, f"{number}_1": 1}
    found = client.job(f"{number}_1")
    assert found is not None
    assert (found.state, found.array) == ("FAILED", number)


def test_jobs_of_others_are_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, name = list[str](), {"task": "3", "state": "RUNNING", "reason": "None"}
    other = LINE.format(**name).replace("JobId=19 ArrayJobId=18", "JobId=181 ArrayJobId=180").replace("/a b/job", "/b")
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\ncat <<'END'\n{other}\n{LINE.format(**name)}\nEND\n")
    (tmp_path / "scontrol").chmod(0o755)
    parse = client.parse
    monkeypatch.setattr(client, "parse", lambda line: read.append(line) or parse(line))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(Path, "resolve", lambda path: Path(str(path).replace("/link", "/a b")))
    for found in (client.jobs(["18", "7"]), client.jobs(["18_3", "7"]), client.made_of({Path("/link/job.sbatch")})):
        assert [job.id for job in found] == ["18_3"]
    assert read == 3 * [LINE.format(**name)]


def test_times_are_read_whatever_format_the_shell_asks_for(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_TIME_FORMAT", "%H:%M")
    number = client.submit(script(tmp_path, "true"), "--hold")
    job = client.job(number)
    client.cancel(number)
    assert job is not None
    assert job.submitted is not None


def test_partitions_have_their_limits(slurm: Cluster) -> None:
    found = {item.name: item for item in client.partitions()}
    assert (found["main"].time, found["main"].nodes, found["main"].most) == ("01:00:00", 3, 3)
    assert [name for name, item in found.items() if item.default] == ["main"]


def script(folder: Path, line: str) -> Path:
    path = folder / "job.sbatch"
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    return path


def state(number: str, expected: str) -> None:
    """Wait until a job is in a state."""
    end = time.monotonic() + 60
    while (job := client.job(number)) is None or job.state != expected:
        assert time.monotonic() < end, (job, os.environ["SLURM_CONF"])
        time.sleep(0.2)
