"""`python -m dit_video.evaluation vae=RUN source=DIR [size=256x256 fps=12 frames=33 clips=32 out=DIR ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from datamodules import commands


def main(arguments: Sequence[str]) -> None:
    """Evaluate, and write evaluation.json and a page; a user's mistake is one line and exit code 2."""
    commands.run("dit_video.evaluation.command.evaluate", arguments, name="dit_video.evaluation")


if __name__ == "__main__":
    main(sys.argv[1:])
