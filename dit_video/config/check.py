"""Every `_target_` node of a config held against the signature of what it names, without importing that."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dit_video import signature
from dit_video.config.mistakes import nearest, show
from dit_video.config.overrides import chosen, groups, options
from dit_video.config.types import MISSING, mismatch
from dit_video.errors import ConfigError

ALLOWED = ("dit_video.", "datamodules.", "lightning.pytorch.", "torch.optim.")
CONTROL = frozenset({"_target_", "_partial_", "_convert_", "_recursive_"})

Node = Mapping[str, Any]


def check(config: Node, *, allowed: Sequence[str] = ALLOWED, complete: bool = True) -> None:
    """Hold every `_target_` node of a config, resolved or not, against the signature of what it names.

    Without `complete`, required arguments may be missing yet. Raises ConfigError with the key at fault: unknown or
    missing arguments, wrong types, targets that do not exist or are not allowed.
    """
    for key, node in targets(config):
        _check_node(key, node, allowed=allowed, complete=complete)


def check_groups(config: Node, *, conf: Path, name: str = "train") -> None:
    """Settings of a group need an option of it: `models.dit.width=64` says nothing while `models/dit` is not chosen."""
    for group in chosen(conf, name):
        node = _at(config, group.split("/"))
        if not isinstance(node, Mapping) or "_target_" in node or any(g.startswith(f"{group}/") for g in groups(conf)):
            continue
        for key, value in node.items():
            if value is None or (isinstance(value, Mapping) and "_target_" in value):
                continue
            named = [name for name, item in node.items() if isinstance(item, Mapping) and "_target_" in item]
            dotted = group.replace("/", ".")
            if named:
                raise ConfigError(f"there is no {dotted}.{key}; {nearest(key, named)}")
            offered = ", ".join(options(conf, group))
            raise ConfigError(f"{dotted}.{key} is set but no {group} is chosen; add {group}=NAME, one of {offered}")


def missing(node: object, key: str = "") -> Iterator[str]:
    """Keys of an unresolved config whose value is still `???`."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from missing(value, f"{key}.{name}" if key else str(name))
    elif node == MISSING:
        yield key


def targets(node: object, key: str = "") -> Iterator[tuple[str, Node]]:
    """Every node that names a target, with its dotted key; outer ones first."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from targets(value, f"{key}.{index}")


def _check_node(key: str, node: Node, *, allowed: Sequence[str], complete: bool) -> None:
    target = node["_target_"]
    if not (isinstance(target, str) and target.startswith(tuple(allowed))):
        raise ConfigError(f"{key}._target_ is {target!r}; only names under {', '.join(allowed)} may be called")
    found = signature.read(target)
    if found is None:
        module, _, last = target.rpartition(".")
        raise ConfigError(f"{key}._target_: there is no {target}; {nearest(last, signature.names(module))}")
    if not f"{found.module}.".startswith(tuple(_homes(allowed))):
        raise ConfigError(f"{key}._target_: {target} leads to {found.module}, which may not be called")
    keys = [name for name in node if name not in CONTROL]
    for name in keys:
        if name.startswith("_") or (name not in found.arguments and not found.open):
            raise ConfigError(f"there is no {key}.{name} ({target}); {nearest(name, found.arguments)}")
        if name in found.arguments:
            _check_value(f"{key}.{name}", node[name], found.arguments[name].annotation, module=found.module)
    unset = [name for name, argument in found.arguments.items() if argument.required and name not in keys]
    if unset and complete and not node.get("_partial_"):
        raise ConfigError(f"{key}.{unset[0]} is not set; add {key}.{unset[0]}=VALUE ({target} needs it)")


def _check_value(key: str, value: object, annotation: ast.expr | None, *, module: str) -> None:
    """ConfigError for a value of another type, or settings of an object that no target makes."""
    expected = mismatch(value, annotation)
    if expected:
        raise ConfigError(f"{key} must be {expected}, got {show(value)}")
    if isinstance(value, Mapping) and "_target_" not in value:
        for target in signature.classes(module, annotation):
            raise ConfigError(f"{key} is set but not made by anything; add {key}._target_={target}")


def _homes(allowed: Sequence[str]) -> Iterable[str]:
    """Where definitions may stand: `lightning.pytorch.Trainer` may be defined anywhere in lightning."""
    return ["lightning." if prefix.startswith("lightning.") else prefix for prefix in allowed]


def _at(config: object, path: Sequence[str]) -> object:
    for name in path:
        config = config.get(name) if isinstance(config, Mapping) else None
    return config
