"""What is written goes where it belongs, once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dit_video import log

SCRIPT = """
from dit_video import log
log.setup()
log.setup()
log.say("result")
log.get("dit_video.somewhere").info("message")
log.get("dit_video.somewhere").debug("whisper")
"""


def test_results_go_to_standard_output_and_messages_to_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("result\n", "message\n")


def test_progress_passes_everything_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(log.progress(iter("abc"), what="letters", total=3, unit="letter")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "letters" in err
    assert "3/3" in err
