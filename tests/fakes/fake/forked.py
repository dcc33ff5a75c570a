"""train.py in a fork of a process that has imported torch and lightning: a mistake shows in tenths of a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import train
from dit_video.config import ALLOWED
from fake import server


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def start(folder: Path, arguments: Sequence[str]) -> Done:
    """One command in `folder`, which holds afterwards what the command has made and nothing else."""
    files = [folder.with_name(f"{folder.name}.{name}") for name in ("stdout", "stderr")]
    process = server.ready().Process(target=run, args=(folder, arguments, files))
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
