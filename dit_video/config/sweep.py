"""The points of a sweep (`-m optim.lr=1e-3,2e-3`): each is a run of its own, in a folder named by what it sets."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from dit_video.config.overrides import MULTIRUN

ITEM = re.compile(r"[+]{0,2}([A-Za-z_][\w./]*)=(.*)", flags=re.DOTALL)
OWN = ("run.name", "run.dir")
SUBMITTING = re.compile(r"run[./](submit([./].*)?|dry)")


def point(task: Sequence[str], swept: Collection[str]) -> dict[str, str]:
    """What a point sets: of the overrides `task` those of swept keys, as Hydra writes them."""
    found = [matched.groups() for item in task if (matched := ITEM.fullmatch(item)) is not None]
    return {key: value for key, value in found if key in swept}


def label(point: Mapping[str, str]) -> str:
    """A point as the name of a folder: `optim.lr=0.001,run.seed=1`."""
    text = ",".join(f"{key}={value}" for key, value in point.items())
    return re.sub(r"[^\w.=,+\-]+", "-", text.replace("/", ".").replace("'", ""))


def place(name: str, folder: str, *, raw: str, point: Mapping[str, str]) -> tuple[str, str]:
    """Name and folder of a point's run, those of the whole sweep given; `raw` is the folder before interpolation.

    A folder that is swept, or made of what is swept, stays.
    """
    own = "run.dir" in point or any(f"${{{key}}}" in raw for key in point)
    named = "run.name" in point
    return (name if named else f"{name}/{label(point)}"), (folder if own else f"{folder}/{label(point)}")


def command(arguments: Sequence[str], *, point: Mapping[str, str], name: str = "", folder: str = "") -> list[str]:
    """The arguments that do alone what a point of the sweep does, as run `name` in `folder`, or what they did before;
    without what submits a job.
    """
    replaced = {_dotted(key) for key in (*point, *OWN)} if point else set()
    found = []
    for item in arguments:
        key = matched[1] if (matched := ITEM.fullmatch(item)) is not None else ""
        if not SUBMITTING.fullmatch(key) and item not in MULTIRUN and _dotted(key) not in replaced:
            found.append(item)
    swept = [f"{key}={value}" for key, value in point.items() if key not in OWN]
    return [*found, *swept, f"run.name={name}", f"run.dir={folder}"] if point else found


def _dotted(key: str) -> str:
    """A key as it stands in the settings, a group's too."""
    return key.replace("/", ".")
