"""What a person at the shell sees: one logger, and a progress line with rate and time left."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def get(name: str) -> logging.Logger:
    """The logger of one module; its lines are plain text on standard error."""
    return logging.getLogger(name)


def setup(level: int = logging.INFO) -> None:
    """Plain messages of ours on standard error; called once by each command."""
    root = logging.getLogger("dit_video")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False


def quiet() -> None:
    """Lightning's banners and tips are not for our users; warnings that say something stay."""
    setup()
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (
        ".*does not have many workers.*",
        ".*treespec.*",
        ".*`srun` command is available.*",
        ".*IterableDataset.*__len__.*",
    ):
        warnings.filterwarnings("ignore", message=text)


def say(text: str) -> None:
    """One line on standard output: results and what to do next."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress(items: Iterable[T], *, what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Iterate with a progress line: count, rate and time left (a few plain lines when not on a terminal)."""
    from tqdm import tqdm

    interactive = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        mininterval=0.2 if interactive else 10.0,
        maxinterval=60.0,
        file=sys.stderr,
        dynamic_ncols=interactive,
    )
