"""The command line of a small command: `key=value` pairs that are the arguments of one function.

Names and types are held against the function's signature, read from its source, before anything heavy is imported. A
user's mistake is one line and exit code 2; `--help` lists the keys.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dit_video import config, log, signature
from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

HELP = {"--help", "-h"}
DEBUG = "run.debug=true"


def run(target: str, arguments: Sequence[str], *, name: str) -> None:
    """Call the function at `target` with the arguments of the command `name`, or say which ones it takes."""
    with config.one_line(debug=DEBUG in arguments):
        if HELP & set(arguments):
            log.say("\n".join([f"python -m {name} key=value ...", *described(function(target))]))
            return
        takes = signature.read(target)
        assert takes is not None, target
        given = parse([item for item in arguments if item != DEBUG], texts=texts(takes))
        check(given, takes, name=name)
        log.setup()
        function(target)(**given)


def function(target: str) -> Callable[..., Any]:
    """What a dotted name names."""
    module, _, last = target.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), last)
    return found


def texts(takes: signature.Signature) -> set[str]:
    """Arguments that are plain text."""
    noted = {name: argument.annotation for name, argument in takes.arguments.items()}
    return {name for name, note in noted.items() if note is not None and ast.unparse(note) in {"str", "str | None"}}


def parse(arguments: Sequence[str], *, texts: Collection[str]) -> dict[str, Any]:
    """Keys and values of a command line: keys in `texts` letter by letter, others as YAML; `a.b=c` is nested."""
    plain: dict[str, Any] = {}
    rest = []
    for item in arguments:
        matched = re.fullmatch(r"([A-Za-z_][\w.]*)=(.*)", item, flags=re.DOTALL)
        if matched is None:
            raise ConfigError(f"{item!r} is not key=value; --help lists the keys")
        key, value = matched.groups()
        if key in texts:
            plain[key] = None if value == "null" else value
        else:
            rest.append(item)
    found = OmegaConf.to_container(OmegaConf.from_dotlist(rest))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()} | plain


def check(given: Mapping[str, Any], takes: signature.Signature, *, name: str) -> None:
    """ConfigError for a key that the command `name` does not take, one that it needs, or a value of the wrong type."""
    for key in given:
        if key not in takes.arguments:
            raise ConfigError(f"there is no {key} in {name}; {config.nearest(key, takes.arguments)}")
    for key, argument in takes.arguments.items():
        if key not in given:
            if argument.required:
                raise ConfigError(f"{key} is not set; add {key}=VALUE ({name} needs it)")
        elif expected := config.mismatch(given[key], argument.annotation):
            raise ConfigError(f"{key} must be {expected}, got {config.show(given[key])}")
        elif argument.required and given[key] == "":  # as a path it would be the present folder
            raise ConfigError(f"{key} is empty; add {key}=VALUE ({name} needs it)")


def defaults(takes: signature.Signature) -> dict[str, Any]:
    """The defaults of the arguments that have one, without importing what they are of."""
    given = {name: argument.default for name, argument in takes.arguments.items()}
    return {name: literal(default) for name, default in given.items() if default is not None}


def literal(node: ast.expr) -> Any:
    """What is written in a source: a literal, or a product of them."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return literal(node.left) * literal(node.right)
    return ast.literal_eval(node)


def described(called: Callable[..., Any]) -> list[str]:
    """What a function does, and its arguments with their defaults, a line each."""
    defaults = {name: argument.default for name, argument in inspect.signature(called).parameters.items()}
    keys = [
        f"  {name}={'REQUIRED' if default is inspect.Parameter.empty else default}"
        for name, default in defaults.items()
    ]
    return [inspect.getdoc(called) or "", *keys]
