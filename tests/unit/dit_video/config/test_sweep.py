"""A point of a sweep: its name, its folder, and the command that does it alone."""

from __future__ import annotations

import pytest

from dit_video.config import sweep

TYPED = [
    "experiment=a",
    "-m",
    "optim.lr=1e-3,2e-3",
    "models.dit=s,b",
    "run.dir=runs/x",
    "run.submit=slurm",
    "run.dry=true",
]
TASK = ["experiment=a", "++optim.lr=0.001", "models/dit=s", "++run.dir='runs/x'", "run/submit=slurm"]
POINT = {"optim.lr": "0.001", "models/dit": "s"}


def test_a_point_is_what_it_sets_of_the_swept_keys() -> None:
    assert sweep.point(TASK, ["optim.lr", "models/dit"]) == POINT
    assert sweep.label(POINT) == "optim.lr=0.001,models.dit=s"
    assert sweep.label({"a": "{b: 'c/d'}"}) == "a=-b-c.d-"


def test_the_command_of_a_point_stands_alone_and_submits_nothing() -> None:
    found = sweep.command(TYPED, point=POINT, name="n/l", folder="runs/x/l")
    assert found == ["experiment=a", "optim.lr=0.001", "models/dit=s", "run.name=n/l", "run.dir=runs/x/l"]


@pytest.mark.parametrize("item", ["run.submit=slurm", "run/submit=site", "++run.submit.time=90", "run.dry=true"])
def test_without_a_sweep_only_what_submits_goes(item: str) -> None:
    assert sweep.command(["a.b=c", "run.dir=x", item, "run.submits=1"], point={}) == [
        "a.b=c",
        "run.dir=x",
        "run.submits=1",
    ]


@pytest.mark.parametrize(
    ("raw", "point", "expected"),
    [
        ("runs/${run.name}", {"optim.lr": "1"}, ("n/optim.lr=1", "f/optim.lr=1")),
        ("runs/${optim.lr}", {"optim.lr": "1"}, ("n/optim.lr=1", "f")),
        ("runs/${run.name}", {"run.name": "m"}, ("n", "f")),
        ("f", {"run.dir": "f"}, ("n/run.dir=f", "f")),
        ("f", {"run.name": "m"}, ("n", "f/run.name=m")),
    ],
)
def test_a_point_has_a_folder_of_its_own(raw: str, point: dict[str, str], expected: tuple[str, str]) -> None:
    assert sweep.place("n", "f", raw=raw, point=point) == expected
