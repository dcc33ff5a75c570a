from __future__ import annotations

import pytest

from dit_video import launch


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
    ],
)
def test_the_trainer_is_told_what_there_is(
    trainer: dict[str, object], size: int, local: int, expected: dict[str, int]
) -> None:
    environment = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(local)}
    assert launch.found({"accelerator": "cpu", **trainer}, environment=environment) == expected
    assert launch.found({"accelerator": "cpu", **trainer}, environment={}) == {}
