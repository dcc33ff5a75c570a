"""Words of SLURM and the keys that mend it; the words are those of a real one (22.05, and 23.11 where they differ)."""

from __future__ import annotations

import pytest

from dit_video.errors import ClusterError
from dit_video.slurm import client, refusal
from dit_video.slurm.client import Partition
from dit_video.slurm.script import Size
from dit_video.slurm.settings import Slurm

SIZE = Size(nodes=2, tasks=4, gpus=4)
MAIN = Partition(name="main", time="1-00:00:00", nodes=3, most=3, default=True)


@pytest.fixture(autouse=True)
def partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "partitions", lambda: [MAIN])


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("Invalid partition name specified", r"run\.submit\.partition, one of main \(now run\.submit\.partition=p\)"),
        ("unrecognized option '--foo'", r"change run\.submit\.options"),
        ("Invalid --signal specification", r"change run\.submit\.grace \(now run\.submit\.grace=120\)"),
        ("Invalid account or account/partition combination specified", r"change run\.submit\.account"),
        ("Invalid qos specification", r"change run\.submit\.qos"),
        ("Requested time limit is invalid (missing or exceeds some limit)", r"change run\.submit\.time"),
        ("Invalid feature specification", r"change run\.submit\.constraint"),
        ("Invalid generic resource (gres) specification", r"change run\.submit\.gpus"),
        ("Memory specification can not be satisfied", r"change run\.submit\.memory"),
        ("Invalid node name specified", r"change run\.submit\.exclude"),
        (
            "Requested node configuration is not available",
            r"trainer\.num_nodes.*2 node\(s\) with 4 rank\(s\) and 4 GPU",
        ),
    ],
)
def test_a_refusal_names_its_keys(said: str, key: str) -> None:
    error = ClusterError(f"sbatch failed: Batch job submission failed: {said}")
    with pytest.raises(ClusterError, match=key):
        raise refusal.of(error, Slurm(partition="p"), size=SIZE)


def test_what_is_no_refusal_stays() -> None:
    error = ClusterError("SLURM's controller does not answer")
    assert refusal.of(error, Slurm(), size=SIZE) is error


@pytest.mark.parametrize(
    ("reason", "limit", "size", "why"),
    [
        (
            "PartitionConfig",
            "2-00:00:00",
            SIZE,
            r"run\.submit\.time=2-0 is over the limit of partition main, 1-00:00:00",
        ),
        ("PartitionTimeLimit", "UNLIMITED", SIZE, "is over the limit"),
        ("PartitionConfig", "01:00:00", Size(nodes=9), r"trainer\.num_nodes=9 and partition main gives 3"),
        ("PartitionNodeLimit", "01:00:00", Size(nodes=9), r"trainer\.num_nodes=9 and partition main gives 3"),
        ("PartitionNodeLimit", "01:00:00", SIZE, None),  # some of them are down
        ("BadConstraints", "01:00:00", SIZE, "no node of partition main has what is asked of each"),
        ("QOSMaxWallDurationPerJobLimit", "01:00:00", SIZE, r"change run\.submit\.time"),
        ("Job's account not known, so it can't use this partition", "01:00:00", SIZE, r"change run\.submit\.account"),
        ("Resources", "01:00:00", SIZE, None),
        ("Priority", "2-00:00:00", SIZE, None),
        ("QOSMaxJobsPerUserLimit", "01:00:00", SIZE, None),
    ],
)
def test_what_would_wait_for_ever_is_told_from_what_waits(reason: str, limit: str, size: Size, why: str | None) -> None:
    line = f"JobId=1 JobState=PENDING Reason={reason.replace(' ', '_')} TimeLimit={limit} Partition=main WorkDir=/"
    error = refusal.never(client.parse(line), Slurm(time="2-0"), size=size)
    assert (error is None) == (why is None)
    if error is not None:
        with pytest.raises(ClusterError, match=why):
            raise error


def test_a_job_that_has_failed_by_itself_was_not_refused() -> None:
    job = client.parse("JobId=1 JobState=FAILED Reason=NonZeroExitCode TimeLimit=01:00:00 Partition=main WorkDir=/")
    assert refusal.never(job, Slurm(), size=SIZE) is None
