"""Ranks from SLURM's own variables."""

from __future__ import annotations

import pytest

from dit_video.errors import ConfigError
from dit_video.launch import task

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "gpu[03-04],big-1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
}
PLACES = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]  # node and place on it of each rank
TASKS = [
    {**STEP, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(local), "SLURM_NODEID": str(node)}
    for rank, (node, local) in enumerate(PLACES)
]


def environment(**more: str) -> list[dict[str, str]]:
    """What each rank is told."""
    found = [task.of({**own, **more}) for own in TASKS]
    return [item.environment() for item in found if item is not None]


def test_ranks_and_places_are_those_of_slurm() -> None:
    found = environment()
    names = ("RANK", "WORLD_SIZE", "GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    mates = (2, 2, 2, 2, 1)
    assert [tuple(int(item[name]) for name in names) for item in found] == [
        (rank, 5, node, local, mates[rank]) for rank, (node, local) in enumerate(PLACES)
    ]


def test_all_ranks_meet_at_the_same_place_and_another_start_elsewhere() -> None:
    meet = {(item["MASTER_ADDR"], item["MASTER_PORT"], item["TORCHELASTIC_RUN_ID"]) for item in environment()}
    assert len(meet) == 1
    address, port, _ = meet.pop()
    assert address == "gpu03"
    assert 12000 <= int(port) < 30000
    assert environment(SLURM_RESTART_COUNT="1")[0]["MASTER_PORT"] != port


def test_what_the_batch_script_exports_is_taken() -> None:
    found = environment(MASTER_ADDR="10.0.0.3", MASTER_PORT="4711")
    assert {(item["MASTER_ADDR"], item["MASTER_PORT"]) for item in found} == {("10.0.0.3", "4711")}


def test_one_node_needs_no_name() -> None:
    found = task.of({**TASKS[1], "SLURM_STEP_TASKS_PER_NODE": "5", "SLURM_STEP_NODELIST": "node7"})
    assert found is not None
    assert found.address == "127.0.0.1"


def test_a_task_that_sees_one_gpu_alone_takes_the_first_that_it_sees() -> None:
    bound, free = environment(CUDA_VISIBLE_DEVICES="3"), environment(CUDA_VISIBLE_DEVICES="0,1")
    assert [item["LOCAL_RANK"] for item in bound] == ["0"] * 5
    assert [item["LOCAL_WORLD_SIZE"] for item in bound] == ["1"] * 5
    assert len({item["GROUP_RANK"] for item in bound}) == 5
    assert [item["LOCAL_RANK"] for item in free] == [str(local) for _, local in PLACES]
    assert environment(CUDA_VISIBLE_DEVICES="") == environment()  # as where GPUs are pretended


def test_cores_are_those_of_the_task_or_its_share() -> None:
    assert task.threads({"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "64"}, mates=4) == 8
    assert task.threads({"SLURM_CPUS_ON_NODE": "64"}, mates=4) == 16
    assert task.threads({"SLURM_CPUS_ON_NODE": "2"}, mates=4) == 1


def test_a_lone_task_and_no_task_have_nothing() -> None:
    assert task.of({**TASKS[0], "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert task.of({name: value for name, value in TASKS[0].items() if name != "SLURM_STEP_ID"}) is None


def test_variables_that_were_not_exported_are_named() -> None:
    with pytest.raises(ConfigError, match="SLURM_LOCALID is not set"):
        task.of({name: value for name, value in TASKS[0].items() if name != "SLURM_LOCALID"})


@pytest.mark.parametrize(
    ("text", "first"),
    [("node1", "node1"), ("node[2-4,7],a1", "node2"), ("a1,node[2-4]", "a1"), ("r[0-1]n[08-12]", "r0n08")],
)
def test_the_first_node_of_a_list(text: str, first: str) -> None:
    assert task.first_host(text) == first


@pytest.mark.parametrize(("text", "counts"), [("2", [2]), ("2(x3),1", [2, 2, 2, 1]), ("4,3(x2)", [4, 3, 3])])
def test_tasks_of_each_node(text: str, counts: list[int]) -> None:
    assert task.counts(text) == counts
