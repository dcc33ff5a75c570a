from __future__ import annotations

import pytest

from dit_video import launch
from dit_video.launch.shared import ATTEMPT


@pytest.mark.parametrize(
    ("trainer", "size", "local", "expected"),
    [
        (
            {"devices": 1, "num_nodes": 1},
            4,
            2,
            {"devices": 2, "num_nodes": 2},
        ),  # torchrun, and settings that know nothing
        ({"devices": 2, "num_nodes": 2}, 4, 2, {}),
        ({"devices": 2, "num_nodes": 2}, 2, 2, {"devices": 2, "num_nodes": 1}),  # a job that goes on with fewer nodes
        ({"devices": [0, 1], "accelerator": "gpu"}, 2, 2, {}),
        ({"devices": "auto"}, 2, 1, {"devices": 1, "num_nodes": 2}),
        ({"devices": 2, "num_nodes": 1}, 2, 1, {"devices": 1, "num_nodes": 2}),  # one device bound to each task
    ],
)
def test_the_trainer_is_told_what_there_is(
    trainer: dict[str, object], size: int, local: int, expected: dict[str, int]
) -> None:
    environment = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(local)}
    assert launch.found({"accelerator": "cpu", **trainer}, environment=environment) == expected
    assert launch.found({"accelerator": "cpu", **trainer}, environment={}) == {}


def test_a_job_may_go_on_with_one_rank() -> None:
    trainer, environment = {"accelerator": "cpu", "devices": 1, "num_nodes": 2}, {ATTEMPT: "a"}
    assert launch.asked(trainer, environment=environment).size == 1
    assert launch.found(trainer, environment=environment) == {"num_nodes": 1}
