"""What a constructor takes, read from its source by `ast`: nothing is imported, so a typo shows before torch loads.

- A dotted name is followed through packages, re-exports (`from .dit import DiT`) and aliases to the `class` or `def`.
- Names reached by `import os` are never followed, so `lightning....connector.call` cannot reach `subprocess.call`.
- Dataclasses and NamedTuples have their fields; a class without `__init__` has that of its first base that we can find.
- `**kwargs`, and bases that cannot be read, make a signature `open`: it takes any key.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument: its annotation and its default as written, and whether it has none."""

    annotation: ast.expr | None
    required: bool
    default: ast.expr | None = None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Arguments by name; `module` is where the definition stands; an `open` one takes other keys too."""

    module: str
    arguments: dict[str, Argument] = field(default_factory=dict)
    open: bool = False


Definition = ast.ClassDef | ast.FunctionDef


def read(target: str) -> Signature | None:
    """The signature of the class or function that `target` names, or None where there is none."""
    module, rest = _locate(target)
    found = _find(module, rest) if module and rest else None
    if found is None:
        return None
    module, definition, owner = found
    if isinstance(definition, ast.ClassDef):
        return _of_class(module, definition)
    return _of_function(module, definition, bound=owner is not None and not _has(definition, "staticmethod"))


def names(module: str) -> tuple[str, ...]:
    """Public names that a module defines or re-exports, for hints."""
    path = _file(module)
    if path is None:
        return ()
    found = [_bound(node) for node in _statements(_parse(path).body)]
    return tuple(sorted({name for group in found for name in group if not name.startswith("_")}))


def classes(module: str, annotation: ast.expr | None) -> tuple[str, ...]:
    """Dotted names of the classes that an annotation written in `module` names: `Sampling | None` has one."""
    if isinstance(annotation, ast.BinOp):
        return classes(module, annotation.left) + classes(module, annotation.right)
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return classes(module, ast.parse(annotation.value, mode="eval").body)
    found = _find(module, [annotation.id]) if isinstance(annotation, ast.Name) else None
    return (f"{found[0]}.{found[1].name}",) if found and isinstance(found[1], ast.ClassDef) else ()


@functools.lru_cache(maxsize=256)
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=256)
def _file(module: str) -> Path | None:
    """Source file of a module; only the top package is asked of the import system, which does not run it."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and not rest and Path(spec.origin).is_file() else None
    folder = Path(next(iter(spec.submodule_search_locations)))
    path = folder.joinpath(*rest)
    for candidate in (path / "__init__.py", path.with_suffix(".py") if rest else path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _locate(target: str) -> tuple[str | None, list[str]]:
    """Split a dotted name into its module and the names inside it."""
    parts = target.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        if _file(module) is not None:
            return module, parts[count:]
    return None, []


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Top-level statements, those under `if TYPE_CHECKING` and `try` included."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.If):
            found += _statements(node.body) + _statements(node.orelse)
        elif isinstance(node, ast.Try):
            found += _statements(node.body)
        else:
            found.append(node)
    return found


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _find(module: str, rest: list[str], depth: int = 0) -> tuple[str, Definition, ast.ClassDef | None] | None:
    """The definition of the name `rest` of `module`, with the module it stands in and the class that owns it."""
    path = _file(module)
    if path is None or not rest or depth > 12:
        return None
    for node in reversed(_statements(_parse(path).body)):
        if rest[0] not in _bound(node):
            continue
        if isinstance(node, ast.ClassDef):
            return _member(module, node, rest[1:])
        if isinstance(node, ast.FunctionDef):
            return None if rest[1:] else (module, node, None)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            return _find(module, [node.value.id, *rest[1:]], depth + 1)
        if isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            name = next(alias.name for alias in node.names if (alias.asname or alias.name) == rest[0])
            if _file(f"{source}.{name}") is not None:
                return _find(f"{source}.{name}", rest[1:], depth + 1)
            return _find(source, [name, *rest[1:]], depth + 1)
    return None


def _member(module: str, owner: ast.ClassDef, rest: list[str]) -> tuple[str, Definition, ast.ClassDef | None] | None:
    if not rest:
        return module, owner, None
    for node in owner.body:
        if isinstance(node, ast.FunctionDef) and [node.name] == rest:
            return module, node, owner
    return None


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that a (relative) `from` import names."""
    if not node.level:
        return node.module or ""
    path = _file(module)
    parts = module.split(".")
    package = parts if path is not None and path.name == "__init__.py" else parts[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, node.module] if node.module else package)


def _has(node: Definition, decorator: str) -> bool:
    """Whether `node` carries the decorator, called or not."""
    bare = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return any(getattr(item, "id", getattr(item, "attr", None)) == decorator for item in bare)


def _of_function(module: str, node: ast.FunctionDef, *, bound: bool) -> Signature:
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = [*zip(positional, defaults, strict=True)][bound:]
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    arguments = {
        arg.arg: Argument(annotation=arg.annotation, required=value is None, default=value) for arg, value in pairs
    }
    return Signature(module=module, arguments=arguments, open=node.args.kwarg is not None)


def _of_class(module: str, node: ast.ClassDef) -> Signature:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_function(module, item, bound=True)
    bases = [_base(module, base) for base in node.bases]
    if _has(node, "dataclass") or any(getattr(base, "id", None) == "NamedTuple" for base in node.bases):
        inherited: dict[str, Argument] = {}
        for base in bases:
            inherited |= base.arguments if base else {}
        return Signature(module=module, arguments=inherited | _fields(node))
    for base in bases:
        if base is not None:
            return Signature(module=module, arguments=base.arguments, open=base.open)
    return Signature(module=module, open=bool(node.bases))


def _base(module: str, base: ast.expr) -> Signature | None:
    if isinstance(base, ast.Subscript):
        base = base.value
    found = _find(module, [base.id]) if isinstance(base, ast.Name) else None
    return _of_class(found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def _fields(node: ast.ClassDef) -> dict[str, Argument]:
    """Fields of a dataclass that its constructor takes."""
    arguments = {}
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if "ClassVar" in ast.dump(item.annotation):
            continue
        options: dict[str | None, ast.expr] = {}
        if isinstance(item.value, ast.Call) and getattr(item.value.func, "id", None) == "field":
            options = {keyword.arg: keyword.value for keyword in item.value.keywords}
        if getattr(options.get("init"), "value", True) is False:
            continue
        required = not ({"default", "default_factory"} & set(options)) if options else item.value is None
        arguments[item.target.id] = Argument(annotation=item.annotation, required=required)
    return arguments
