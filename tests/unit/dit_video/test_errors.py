"""Every leaf is a UserError, and so a ValueError, which the commands tell in one line."""

from __future__ import annotations

import inspect

import pytest

from dit_video import config, errors

NO_MISTAKES = {errors.UserError, errors.NodeError}  # the root, and what is no one's mistake
LEAVES = [leaf for _, leaf in inspect.getmembers(errors, inspect.isclass) if leaf not in NO_MISTAKES]


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    leaf: type[errors.UserError], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, config.one_line():
        raise leaf("what,\nexpected, key")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: what, expected, key\n"
    assert issubclass(leaf, errors.UserError)
    assert issubclass(leaf, ValueError)
