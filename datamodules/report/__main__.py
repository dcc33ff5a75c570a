"""`python -m datamodules.report dataset=DIR [out=FILE] [pixels=16384 frames=17 fps=12 ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from datamodules import commands


def main(arguments: Sequence[str]) -> None:
    """Write the report; a user's mistake is one line and exit code 2."""
    commands.run("datamodules.report.build.report", arguments, name="datamodules.report")


if __name__ == "__main__":
    main(sys.argv[1:])
