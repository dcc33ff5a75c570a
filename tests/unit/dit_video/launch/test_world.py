"""How many ranks this command starts, by its settings and by who has started it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dit_video.errors import ConfigError
from dit_video.launch import world
from dit_video.launch.world import World

CPU = {"accelerator": "cpu", "num_nodes": 1}


@pytest.mark.parametrize(
    ("devices", "accelerator", "count"),
    [
        (1, "cpu", 1),
        (2, "cpu", 2),
        ("2", "cpu", 2),
        ("auto", "cpu", 1),
        (-1, "mps", 1),
        ([0, 3], "gpu", 2),
        ("0,1,", "gpu", 2),
        (8, "gpu", 8),
    ],
)
def test_devices_are_counted_as_lightning_does(devices: Any, accelerator: str, count: int) -> None:
    found = world.asked({"accelerator": accelerator, "devices": devices}, environment={})
    assert found == World(ranks=tuple(range(count)), size=count)


SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}


def test_torchrun_and_srun_have_given_the_rank() -> None:
    trainer = {**CPU, "devices": 4, "num_nodes": 2}
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    for environment in (torchrun, {**SRUN, **torchrun}):
        assert world.asked(trainer, environment=environment) == World(ranks=(5,), size=8, outside=True)
    found = world.asked(trainer, environment=SRUN)
    assert (found.ranks, found.size, found.outside, found.whole) == ((5,), 8, True, False)
    alone = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    assert world.asked({**CPU, "devices": 2}, environment=alone).ranks == (0, 1)


def test_a_task_of_srun_is_told_what_torchrun_would_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = {**SRUN, "SLURM_CPUS_PER_TASK": "1"}
    found = world.asked({}, environment=environment).environment(5, port=1, run="x")
    assert (found["RANK"], found["WORLD_SIZE"], found["LOCAL_RANK"]) == ("5", "8", "1")
    assert found["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({**CPU, "devices": 9999}, "trainer.devices is 9999 and this machine has"),
        ({"accelerator": "gpu", "devices": "all"}, "trainer.devices must be a number"),
        ({**CPU, "devices": -1}, "trainer.devices=-1 chooses among GPUs"),
        ({**CPU, "devices": [0, 1]}, r"trainer.devices=\[0, 1\] chooses among GPUs"),
        ({**CPU, "devices": 0}, "trainer.devices=0 .* set trainer.devices=N"),
        ({**CPU, "devices": 2, "num_nodes": 2}, "trainer.num_nodes=2 needs"),
    ],
)
def test_what_this_machine_cannot_start_is_refused(trainer: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        world.asked(trainer, environment={})


def test_ranks_find_what_torch_and_lightning_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    several = World(ranks=(0, 1), size=2)
    found = [several.environment(rank, port=5, run="x") for rank in several.ranks]
    assert [(item["RANK"], item["LOCAL_RANK"], item["WORLD_SIZE"]) for item in found] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]
    assert found[0]["OMP_NUM_THREADS"] == str(max(world.cores() // 2, 1))
    assert World(ranks=(0,), size=1).environment(0, port=5, run="x") == {}
    assert World(ranks=(1,), size=2, outside=True).environment(1, port=5, run="x") == {}


def test_a_free_port_can_be_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", world.free_port()))
