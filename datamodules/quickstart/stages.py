"""Running one command after the other, printed as a user would type it, with its time and memory kept.

- A stage is done while all that decides what it makes is as it was: its commands, the settings they resolve to, the
  files it reads, and the stages it follows. Else it starts anew, and what it made before is deleted first.
- A stage that was stopped on its way goes on: its commands know how.
- Nothing is deleted that stages.json does not say this quickstart has made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from datamodules.quickstart.memory import Watch
from dit_video import log
from dit_video.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    Commands = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Commands that were run: their wall time in seconds, and the most memory all processes held together, in GB.

    `digest` stands for all that decided what they made; `done` is false from their start to their end.
    """

    name: str
    command: str
    digest: str = ""
    done: bool = True
    seconds: float = 0.0
    peak_gb: float = 0.0


class Stages:
    """The stages of a quickstart in `folder`; a stage that is done is not run again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "stages.json"
        kept = json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else []
        self.before = {item["name"]: Stage(**item) for item in kept}
        self.done: dict[str, Stage] = {}

    def run(
        self,
        name: str,
        *commands: Sequence[str],
        after: Sequence[str] = (),
        reads: Sequence[Path] = (),
        makes: Sequence[Path] = (),
    ) -> None:
        """Run the commands of a stage if need be; DataError where one fails.

        Args:
            name: of the stage.
            commands: arguments of Python, one command each.
            after: stages of this run whose results it uses.
            reads: files and folders beside these that decide what it makes.
            makes: files and folders that it alone makes.
        """
        stage = Stage(
            name=name,
            command="\n".join(shown(command) for command in commands),
            digest=digest(commands, after=[self.done[other].digest for other in after], reads=reads),
        )
        last = self.before.get(name)
        if last is not None and last.digest == stage.digest and last.done and all(path.exists() for path in makes):
            log.say(f"\n[{name}] done before")
            self.done[name] = last
            return
        if last is not None and last.digest != stage.digest:
            clear(makes)
        self.keep(replace(stage, done=False))
        log.say(f"\n[{name}]")
        since = time.perf_counter()
        with Watch() as watch:
            follow(name, commands)
        self.keep(replace(stage, seconds=time.perf_counter() - since, peak_gb=watch.peak / 1e9))
        log.say(f"[{name}] {self.done[name].seconds:.0f} s")

    def keep(self, stage: Stage) -> None:
        """Note how a stage stands; those that this run has not come to yet stay noted as they were."""
        self.done[stage.name] = self.before[stage.name] = stage
        self.write({**self.done, **{name: old for name, old in self.before.items() if name not in self.done}})

    def finish(self) -> None:
        """Forget stages that this run did not have."""
        self.write(self.done)

    def write(self, stages: dict[str, Stage]) -> None:
        """Write stages.json at once."""
        rows: list[dict[str, Any]] = [asdict(stage) for stage in stages.values()]
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        temporary.replace(self.file)


def follow(name: str, commands: Commands) -> None:
    """Run commands one after the other; DataError at the first that fails."""
    for command in commands:
        log.say(f"$ {shown(command)}")
        finished = subprocess.run([sys.executable, *command], check=False)
        if finished.returncode:
            raise DataError(
                f"stage {name} failed with exit code {finished.returncode}; its own message stands above. "
                "The same command goes on from there"
            )


def digest(commands: Commands, *, after: Iterable[str], reads: Iterable[Path]) -> str:
    """A hash over all that decides what a stage makes."""
    found = hashlib.sha256(json.dumps([[list(command) for command in commands], list(after)]).encode())
    for command in commands:
        found.update(settings(command))
    for path in reads:
        found.update(contents(path))
    return found.hexdigest()


def settings(command: Sequence[str]) -> bytes:
    """What the settings of a command resolve to, as it says itself; nothing for a command without a config."""
    if not command[0].endswith(".py"):
        return b""
    asked = [sys.executable, *command, "--cfg", "job", "--resolve"]
    return subprocess.run(asked, check=False, capture_output=True).stdout


def contents(path: Path) -> bytes:
    """A hash of a file, or of the names and sizes of all files in a folder."""
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file())
        listing = [(item.relative_to(path).as_posix(), item.stat().st_size) for item in files]
        return hashlib.sha256(json.dumps(listing).encode()).digest()
    return hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"-"


def clear(paths: Iterable[Path]) -> None:
    """Delete files and folders, where they are."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def shown(command: Sequence[str]) -> str:
    """A command as it would be typed."""
    return " ".join(["python", *(shlex.quote(part) for part in command)])


def threads() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
