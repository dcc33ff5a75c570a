from __future__ import annotations

import errno
import os

import pytest

from dit_video import config
from dit_video.errors import ConfigError


def test_one_line_shows_mistakes_and_raises_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, config.one_line():
        raise RuntimeError("wrapped") from ConfigError("two\nlines")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: two lines\n"
    with pytest.raises(RuntimeError, match="bug"), config.one_line():
        raise RuntimeError("bug")
    with pytest.raises(ConfigError), config.one_line(debug=True):
        raise ConfigError("shown whole")


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "free some room"), (errno.EROFS, "choose a folder")])
def test_a_disk_that_takes_nothing_is_named(number: int, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), config.one_line():
        raise OSError(number, os.strerror(number), "/a/b")
    assert capsys.readouterr().err.startswith(f"error: /a/b: {os.strerror(number)}; {advice}")
