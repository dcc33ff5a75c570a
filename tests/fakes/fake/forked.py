"""train.py in a fork of a process that has imported torch and lightning: a mistake shows in tenths of a second."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch  # noqa: F401 - to have it before the fork

import train
from dit_video import checkpoint  # noqa: F401 - the same
from dit_video.callbacks import metrics, wandb  # noqa: F401 - the same
from dit_video.config import ALLOWED

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__])


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def start(folder: Path, arguments: Sequence[str]) -> Done:
    """One command in `folder`, which holds afterwards what the command has made and nothing else."""
    files = [folder.with_name(f"{folder.name}.{name}") for name in ("stdout", "stderr")]
    process = SERVER.Process(target=run, args=(folder, arguments, files))
    process.start()
    process.join(280)
    assert process.exitcode is not None, "it hangs"
    return Done(process.exitcode, *(file.read_text(encoding="utf-8") for file in files))


def run(folder: Path, arguments: Sequence[str], files: Sequence[Path]) -> None:
    """In the fork: standard output and error go to files, and the exit code is the command's."""
    os.chdir(folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv[0] = train.__file__
    train.main(arguments, allowed=(*ALLOWED, "fake."))
