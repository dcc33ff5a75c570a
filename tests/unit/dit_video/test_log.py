"""What is written goes where it belongs, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from dit_video import log


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The root of our loggers, bare, and put back afterwards."""
    root = logging.getLogger("dit_video")
    handlers, level, propagate = root.handlers[:], root.level, root.propagate
    root.handlers.clear()
    for name in ("dit_video", "dit_video.somewhere"):  # a logging.config of another test may have disabled them
        logging.getLogger(name).disabled = False
    logging.disable(logging.NOTSET)
    yield root
    root.handlers[:], root.propagate = handlers, propagate
    root.setLevel(level)


def test_results_go_to_standard_output_and_messages_to_standard_error(
    capsys: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    log.setup()
    log.setup()
    log.say("result")
    log.get("dit_video.somewhere").info("message")
    log.get("dit_video.somewhere").debug("whisper")
    out, err = capsys.readouterr()
    assert (out, err) == ("result\n", "message\n")


def test_progress_passes_everything_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(log.progress(iter("abc"), what="letters", total=3, unit="letter")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "letters" in err
    assert "3/3" in err
