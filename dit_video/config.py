"""Settings are checked before anything heavy is imported: names, types and required arguments, in well under a second.

- The constructor is the schema. `models.dit.width=64` becomes `++models.dit.width=64` for Hydra, so that a setting
  need not be repeated in YAML to be set; then every `_target_` node is held against the signature read from the source.
- Only targets under `ALLOWED` are accepted, and the definition they lead to must stand there too.
- Whatever a user can get wrong is one line on standard error and exit code 2.
- Nothing here imports Hydra: the three commands do.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_video import signature
from dit_video.errors import ConfigError, UserError

ALLOWED = ("dit_video.", "datamodules.", "lightning.pytorch.", "torch.optim.")
CONTROL = frozenset({"_target_", "_partial_", "_convert_", "_recursive_"})
USER_ERROR = 2
MISSING = "???"

Node = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run: where it lives, how long it is, and the seed everything random is keyed by.

    `samples` is the run's length and `every_samples` the interval of checkpoints, both in samples seen by all ranks.
    """

    name: str
    dir: str
    seed: int
    samples: int
    every_samples: int
    debug: bool = False

    def __post_init__(self) -> None:
        for key in ("samples", "every_samples"):
            if getattr(self, key) < 1:
                raise ConfigError(f"run.{key} must be at least 1, got {getattr(self, key)}")


# -- overrides --------------------------------------------------------------------------------------------------------


def rewrite(arguments: Sequence[str], *, conf: Path, name: str, texts: Collection[str] = ()) -> list[str]:
    """Overrides as Hydra wants them: `a.b=c` becomes `++a.b=c`; groups and Hydra's own options stay.

    `name` is the primary config's. Keys in `texts` (prompts, paths) take their value letter by letter: no quoting
    rules. Overrides come last, as argparse wants them. Raises ConfigError for a group, an option of a group, or a
    top-level key that does not exist.
    """
    rewritten = [_rewrite(item, conf=conf, name=name, texts=texts) for item in arguments]
    overrides = {item for item in rewritten if "=" in item and not item.startswith("-")}
    return sorted(rewritten, key=lambda item: item in overrides)


def _rewrite(item: str, *, conf: Path, name: str, texts: Collection[str]) -> str:
    matched = re.fullmatch(r"(\+{0,2}|~)([A-Za-z_][\w./@:]*)=(.*)", item, flags=re.DOTALL)
    if matched is None:
        return item
    prefix, key, value = matched.groups()
    if key.split(".")[0].split("/")[0] == "hydra" or prefix == "~" or "@" in key:
        return item
    if "/" in key or (conf / key).is_dir():
        _check_option(key, value, conf=conf)
        return item
    top = key.split(".")[0]
    if top not in (known := top_level(conf, name)):
        raise ConfigError(f"there is no setting {key}; {nearest(top, known)}")
    return f"++{key}={quote(value) if key in texts else value}"


def _check_option(group: str, value: str, *, conf: Path) -> None:
    folder = conf / group
    if not folder.is_dir():
        raise ConfigError(f"there is no config group {group}; {nearest(group, groups(conf))}")
    options = sorted(path.stem for path in folder.glob("*.yaml"))
    for option in value.strip("[]").split(","):
        if option.strip() not in {*options, "null", ""} and not (folder / f"{option.strip()}.yaml").is_file():
            raise ConfigError(f"{group} has no option {option.strip()!r}; {nearest(option.strip(), options)}")


def quote(value: str) -> str:
    """A value that Hydra's grammar reads as this very text, unless the user has quoted it already."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return "'" + escaped.replace("${", "\\${") + "'"


def groups(conf: Path) -> list[str]:
    """Every config group: folders that hold a YAML file."""
    folders = {path.parent.relative_to(conf).as_posix() for path in conf.rglob("*.yaml")} - {"."}
    return sorted(folders)


def top_level(conf: Path, name: str) -> list[str]:
    """Keys a composed config may have at its top: the primary file's own, and the groups of its defaults list."""
    text = (conf / f"{name}.yaml").read_text(encoding="utf-8")
    own = set(re.findall(r"^([A-Za-z_]\w*):", text, flags=re.MULTILINE)) - {"defaults", "hydra"}
    return sorted(own | {group.split("/")[0] for group in chosen(conf, name)})


def chosen(conf: Path, name: str) -> list[str]:
    """The groups that a primary config's defaults list chooses from; experiments have no key of their own."""
    text = (conf / f"{name}.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^ +- /?([a-z]\w*(?:/\w+)*): ", text, flags=re.MULTILINE)
    return sorted(set(found) - {"experiment"})


# -- the check --------------------------------------------------------------------------------------------------------


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
            options = ", ".join(sorted(path.stem for path in (conf / group).glob("*.yaml")))
            raise ConfigError(f"{dotted}.{key} is set but no {group} is chosen; add {group}=NAME, one of {options}")


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
    found = None
    if isinstance(target, str) and target.startswith(tuple(allowed)):
        found = signature.read(target)
    else:
        raise ConfigError(f"{key}._target_ is {target!r}; only names under {', '.join(allowed)} may be called")
    if found is None:
        module, _, last = target.rpartition(".")
        raise ConfigError(f"{key}._target_: there is no {target}; {nearest(last, signature.names(module))}")
    if not f"{found.module}.".startswith(tuple(_homes(allowed))):
        raise ConfigError(f"{key}._target_: {target} leads to {found.module}, which may not be called")
    keys = [name for name in node if name not in CONTROL]
    for name in keys:
        if name.startswith("_") or (name not in found.arguments and not found.open):
            raise ConfigError(f"there is no {key}.{name} ({target}); {nearest(name, found.arguments)}")
        argument = found.arguments.get(name)
        expected = mismatch(node[name], argument.annotation) if argument else None
        if expected:
            raise ConfigError(f"{key}.{name} must be {expected}, got {_show(node[name])}")
    unset = [name for name, argument in found.arguments.items() if argument.required and name not in keys]
    if unset and complete and not node.get("_partial_"):
        raise ConfigError(f"{key}.{unset[0]} is not set; add {key}.{unset[0]}=VALUE ({target} needs it)")


def _homes(allowed: Sequence[str]) -> Iterable[str]:
    """Where definitions may stand: `lightning.pytorch.Trainer` may be defined anywhere in lightning."""
    return ["lightning." if prefix.startswith("lightning.") else prefix for prefix in allowed]


def _at(config: object, path: Sequence[str]) -> object:
    for name in path:
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _show(value: object) -> str:
    text = repr(dict(value)) if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint: the nearest of `choices`, or all of them."""
    options = list(choices)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(options)}" if options else "it takes none"


# -- types ------------------------------------------------------------------------------------------------------------


def mismatch(value: object, annotation: ast.expr | None) -> str | None:
    """What was expected, if `annotation` is simple enough to tell and `value` does not fit it; else None.

    Interpolations (`${...}`) and values yet missing (`???`) fit anything.
    """
    kinds = _kinds(annotation)
    if (
        kinds is None
        or (isinstance(value, str) and ("${" in value or value == MISSING))
        or any(_fits(value, kind) for kind in kinds)
    ):
        return None
    return " or ".join("null" if kind is None else repr(kind[0]) if isinstance(kind, tuple) else kind for kind in kinds)


Kind = str | tuple[Any] | None


def _kinds(node: ast.expr | None) -> list[Kind] | None:
    """The simple types of an annotation (a literal's value in a tuple, None for null); None if it is not simple."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _kinds(ast.parse(node.value, mode="eval").body)
        return [None] if node.value is None else None
    if isinstance(node, ast.Name) and node.id in {"int", "float", "str", "bool", "Path"}:
        return ["str" if node.id == "Path" else node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _kinds(node.left), _kinds(node.right)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [(item.value,) for item in items if isinstance(item, ast.Constant)]
    return None


def _fits(value: object, kind: Kind) -> bool:
    if kind is None:
        return value is None
    if isinstance(kind, tuple):
        return bool(value == kind[0])
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)


# -- errors and comparison --------------------------------------------------------------------------------------------


@contextmanager
def one_line(*, debug: bool = False) -> Iterator[None]:
    """Turn a user's mistake, and what Hydra and OmegaConf say of one, into one line and exit code 2."""
    try:
        yield
    except Exception as error:
        mistake = _mistake(error)
        if debug or mistake is None:
            raise
        where = f"{override}: " if (override := getattr(mistake, "override", None)) else ""
        sys.stderr.write(f"error: {where}{' '.join(str(mistake).split())}\n")
        raise SystemExit(USER_ERROR) from None


def _mistake(error: BaseException) -> BaseException | None:
    """The user's mistake behind an error: ours if there is one in the chain, else Hydra's or OmegaConf's complaint."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for item in chain:
        if isinstance(item, UserError):
            return item
    config = [item for item in chain if type(item).__module__.split(".")[0] in {"hydra", "omegaconf"}]
    calls = [item for item in config if type(item).__name__ == "InstantiationException"]
    return config[0] if config and not calls else None


def changed(saved: object, config: object, raw: object, *, allowed: Collection[str], key: str = "") -> str | None:
    """The first key whose value differs from the saved run's, if the difference is not allowed.

    `raw` is `config` before interpolation: what only repeats another key is compared there. `allowed` names keys,
    `a.*` with all below.
    """
    if _free(key, allowed) or (isinstance(raw, str) and "${" in raw and "${oc." not in raw):
        return None
    if isinstance(saved, Mapping) and isinstance(config, Mapping):
        for name in [*config, *(name for name in saved if name not in config)]:
            below = raw.get(name) if isinstance(raw, Mapping) else None
            inner = f"{key}.{name}" if key else str(name)
            found = changed(saved.get(name), config.get(name), below, allowed=allowed, key=inner)
            if found:
                return found
        return None
    return None if saved == config else key


def _free(key: str, allowed: Collection[str]) -> bool:
    return any(item in (key, f"{key}.*") or (item.endswith("*") and key.startswith(item[:-1])) for item in allowed)
