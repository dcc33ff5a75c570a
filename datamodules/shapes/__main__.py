"""Write the corpus: `python -m datamodules.shapes out=DIR [videos=4000 images=2500 described=0.25 seed=0]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from datamodules import commands


def main(arguments: Sequence[str]) -> None:
    """Check the arguments against `write_corpus`, then write."""
    commands.run("datamodules.shapes.corpus.write_corpus", arguments, name="datamodules.shapes")


if __name__ == "__main__":
    main(sys.argv[1:])
