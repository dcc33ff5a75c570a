"""The tags of parameters (see `dit_video.optim`) across what replaces parameters by new objects and drops their tags.

`fully_shard` does, and `Module.to_empty` and `Module.to` on what is not yet sharded. So: collect before, tag after:

    kept = tags(model)
    ...  # shard, materialise
    tag(model, kept)

Once sharded, a parameter stays one object through all steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from dit_video.optim.groups import TAGS


def tags(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The tags of each parameter by its name; a shared parameter has them under each of its names."""
    named = model.named_parameters(remove_duplicate=False)
    return {name: {tag: getattr(p, tag) for tag in TAGS if hasattr(p, tag)} for name, p in named}


def tag(model: nn.Module, tags: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the parameters their tags again, in place; the names must be those that `tags` was collected under."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, values in tags.items():
        for key, value in values.items():
            setattr(parameters[name], key, value)
