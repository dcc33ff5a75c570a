"""Running one command after the other, printed as a user would type it, with its time and memory kept."""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dit_video import log
from dit_video.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A command that was run: its wall time in seconds and the most memory one of its processes held, in GB."""

    name: str
    command: str
    seconds: float
    peak_gb: float


class Stages:
    """The stages of a quickstart in `folder`; a stage that is done is not run again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "stages.json"
        done = json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else []
        self.done = {item["name"]: Stage(**item) for item in done}

    def run(self, name: str, *commands: Sequence[str]) -> None:
        """Run the commands of a stage; DataError where one fails."""
        text = "\n".join(shown(command) for command in commands)
        if name in self.done and self.done[name].command == text:
            log.say(f"\n[{name}] done before")
            return
        log.say(f"\n[{name}]")
        since = time.perf_counter()
        for command in commands:
            log.say(f"$ {shown(command)}")
            finished = subprocess.run([sys.executable, *command], check=False)
            if finished.returncode:
                raise DataError(
                    f"stage {name} failed with exit code {finished.returncode}; its own message stands above. "
                    "The same command goes on from there"
                )
        seconds = time.perf_counter() - since
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        self.done[name] = Stage(name=name, command=text, seconds=seconds, peak_gb=peak)
        self.file.write_text(json.dumps([asdict(stage) for stage in self.done.values()], indent=1), encoding="utf-8")
        log.say(f"[{name}] {seconds:.0f} s")


def shown(command: Sequence[str]) -> str:
    """A command as it would be typed."""
    return " ".join(["python", *(shlex.quote(part) for part in command)])


def threads() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
