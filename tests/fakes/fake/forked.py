"""train.py itself in forks of a process that has made its imports: it begins in tenths of a second.

A command is one process, or the ranks of a group with the environment that a launcher gives them. Each is a process of
its own, in a session of its own: it can be sent any signal, and what it forks ends with it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import train
from dit_video.config import ALLOWED
from fake import server


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Running:
    """The processes of a command, rank by rank, and the files of their standard output and error."""

    processes: tuple[Any, ...]
    files: tuple[Path, Path]
    began: float  # seconds, by time.time()

    @property
    def over(self) -> bool:
        """Whether all of them have ended."""
        return all(process.exitcode is not None for process in self.processes)

    def kill(self, *ranks: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to all that some ranks have forked, by default SIGKILL to everyone."""
        for rank in ranks or range(len(self.processes)):
            for send in (os.killpg, os.kill):  # it may have no session yet
                with suppress(ProcessLookupError):
                    send(self.processes[rank].pid, number)

    def done(self, seconds: float = 280.0) -> Done:
        """Wait for the end; a rank that crashes ends the others. AssertionError past the limit."""
        until = time.monotonic() + seconds
        while not self.over:
            crashed = [code for code in self.codes() if code not in {None, 0, 75, 130}]
            if crashed:
                self.kill()
            if time.monotonic() > until:
                self.kill()
                raise AssertionError(f"it hangs\n{self.files[1].read_text(encoding='utf-8')}")
            self.processes[0 if not crashed else -1].join(0.02)
        ended = next((code for code in self.codes() if code), 0)
        return Done(ended, *(file.read_text(encoding="utf-8") if file.exists() else "" for file in self.files))

    def codes(self) -> list[int | None]:
        """Exit codes by rank; None while it runs."""
        return [process.exitcode for process in self.processes]


def launch(folder: Path, arguments: Sequence[str], *, ranks: int = 0, fakes: bool = True) -> Running:
    """Begin a command in `folder`, which gets what the command makes and nothing else.

    `ranks` of a group, or one process on its own (0); `fakes` allows targets of this package.
    """
    files = (folder.with_name(f"{folder.name}.stdout"), folder.with_name(f"{folder.name}.stderr"))
    for file in files:
        file.write_text("")
    environments = group(ranks) if ranks else [{}]
    context = server.ready()
    began = time.time()
    made = [context.Process(target=run, args=(folder, arguments, files, about, fakes)) for about in environments]
    for process in made:
        process.start()
    return Running(tuple(made), files, began)


def start(folder: Path, arguments: Sequence[str], *, ranks: int = 0) -> Done:
    """A command from its beginning to its end."""
    return launch(folder, arguments, ranks=ranks).done()


def group(ranks: int) -> list[dict[str, str]]:
    """The environment of every rank of a group; more than two are on machines of two each, as far as they know."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    local = min(ranks, 2)
    shared = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": local, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"TORCHELASTIC_RUN_ID": "fork"}
    own = [{"RANK": rank, "LOCAL_RANK": rank % local, "GROUP_RANK": rank // local} for rank in range(ranks)]
    return [{name: str(value) for name, value in (shared | places).items()} for places in own]


def run(
    folder: Path, arguments: Sequence[str], files: Sequence[Path], environment: dict[str, str], fakes: bool
) -> None:
    """In the fork: standard output and error go to files, and the exit code is the command's."""
    os.setsid()
    os.chdir(folder)
    os.environ |= environment
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv[0] = str(Path(__file__).resolve().parents[1] / "train.py") if fakes else train.__file__
    train.main(arguments, allowed=(*ALLOWED, "fake.") if fakes else ALLOWED)
