from __future__ import annotations

import ast

import pytest

from dit_video import config


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [1, -1, "${a}", "???"], [1.0, "1", True, None, [1]]),
        ("float", [1, 1.5], ["1", False, None]),
        ("str", ["a"], [1, None]),
        ("bool", [True], [1, "true"]),
        ("int | None", [1, None], [1.5]),
        ("'str'", ["a"], [2]),
        ("Literal['a', 'b']", ["a"], ["c"]),
        ("Sequence[int]", [1, "a", None], []),
    ],
)
def test_simple_types_are_checked(annotation: str, good: list[object], bad: list[object]) -> None:
    node = ast.parse(annotation, mode="eval").body
    assert [config.mismatch(value, node) for value in good] == [None] * len(good)
    assert all(config.mismatch(value, node) for value in bad)
