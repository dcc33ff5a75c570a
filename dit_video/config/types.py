"""The types that an annotation names simply enough to hold a value from YAML against it."""

from __future__ import annotations

import ast
from typing import Any

MISSING = "???"
Kind = str | tuple[Any] | None


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
