"""Which samples were trained on: `python -m datamodules.ledger dataset=DIR steps=A:B [key=value ...]`.

Lists step, samples seen, stream, pack, ordinal, key and source of every sample of steps A to B - 1, by the index.
`run=FOLDER` takes the settings of a training run's config.yaml; without it, keys are arguments of LatentData, or with
`kind=clips` of ClipData.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dit_video import config, log
from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from datamodules.plan import Plan

KINDS = {"latents": "datamodules.latents.LatentData", "clips": "datamodules.clips.ClipData"}
COLUMNS = "step,samples_seen,stream,pack,ordinal,key,source"


def settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Keys and values of the command line."""
    wrong = [item for item in arguments if not re.fullmatch(r"[A-Za-z_][\w.]*=.*", item)]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is not key=value; give dataset=DIR or run=FOLDER, and steps=A:B")
    plain = [item for item in arguments if not item.startswith("steps=")]  # YAML would read 3:5 as a time of day
    found = OmegaConf.to_container(OmegaConf.from_dotlist(plain))
    assert isinstance(found, dict)
    named = [item.removeprefix("steps=") for item in arguments if item.startswith("steps=")]
    return {str(key): value for key, value in found.items()} | ({"steps": named[-1]} if named else {})


def span(text: str) -> tuple[int, int]:
    """Steps A:B as two numbers."""
    matched = re.fullmatch(r"(\d+):(\d+)", str(text))
    if matched is None or int(matched[1]) >= int(matched[2]):
        raise ConfigError(f"steps={text} must be A:B with A below B, such as steps=0:100")
    return int(matched[1]), int(matched[2])


def of_run(folder: str) -> dict[str, Any]:
    """The datamodule's node in a run's config.yaml."""
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"run={folder} is not a training run: there is no {path}")
    node = OmegaConf.to_container(OmegaConf.load(path).datamodules, resolve=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def plan(given: Mapping[str, Any]) -> tuple[Plan, Any]:
    """The plan and the index that the settings describe."""
    from importlib import import_module

    node = dict(given)
    target = node.pop("_target_", None) or KINDS.get(node.pop("kind", "latents"))
    if target not in KINDS.values():
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}")
    config.check({"ledger": {"_target_": target, **node}})
    module, _, name = str(target).rpartition(".")
    data = getattr(import_module(module), name)(**node)
    return data.plan, data.index


def lines(given: Mapping[str, Any], *, first: int, last: int) -> Iterator[str]:
    """The ledger of steps `first` to `last`, a line a sample."""
    found, index = plan(given)
    for step in islice(found.steps(first), last - first):
        for pack in step.packs:
            for item in pack.items:
                place = (step.number, step.samples_seen, pack.stream, pack.number, item.ordinal)
                yield ",".join(map(str, (*place, index.key[item.row], index.source[item.row])))


def main(arguments: Sequence[str]) -> None:
    """Print the ledger; a user's mistake is one line and exit code 2."""
    with config.one_line():
        given = settings(arguments)
        first, last = span(given.pop("steps", "missing"))
        node = of_run(given.pop("run")) | given if "run" in given else given
        log.say(COLUMNS)
        for line in lines(node, first=first, last=last):
            log.say(line)


if __name__ == "__main__":
    main(sys.argv[1:])
