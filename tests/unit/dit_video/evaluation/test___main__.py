"""The command line: keys by name and type, help, and one line for a mistake."""

from __future__ import annotations

import pytest

from dit_video.evaluation.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "vae is not set"),
        (["vae=a", "source=b", "sizes=3"], "did you mean size?"),
        (["vae=a", "source=b", "frames=many"], "frames must be int"),
        (["vae=a", "source=nowhere"], "source=nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert told in error
    assert error.count("\n") == 1


def test_help_lists_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    said = capsys.readouterr().out
    assert "vae=REQUIRED" in said
    assert "lpips: AlexNet" in said
