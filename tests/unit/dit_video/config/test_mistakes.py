from __future__ import annotations

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
