"""Whether a run that crashed is worth another attempt, and what is kept of the crash."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dit_video.launch.cause import Cause

CHECKPOINT = re.compile(r"\d+-(\d+)")
DELAYS = (0.0, 5.0, 20.0, 60.0)  # seconds before a restart, by how many there were without progress
TABLE = "restarts.jsonl"


@dataclass
class Budget:
    """Counts the restarts of a run in `folder` since it last came forward, which is when a checkpoint was saved."""

    folder: Path
    restarts: int
    used: int = 0
    attempt: int = 1
    saved: int = -1
    before: Cause | None = None
    last: Cause | None = None
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.saved = newest(self.folder)[0]

    @property
    def left(self) -> int:
        """Restarts without progress that remain."""
        return self.restarts - self.used

    def refusal(self, cause: Cause) -> str | None:
        """Why there is no restart after `cause`; None is a restart, and it counts."""
        step, _ = newest(self.folder)
        if step > self.saved:
            self.saved, self.used = step, 0
        self.before, self.last = self.last, cause
        if cause.beat.done == 0 and self.attempt == 1:
            return "the first attempt did not complete a step"
        if cause.same(self.before):
            return f"it has failed twice in a row in step {cause.beat.step} in the same way; a restart does not mend it"
        if self.left < 1:
            return f"{self.restarts} restart(s) in a row have led to no new checkpoint (run.restarts={self.restarts})"
        self.used += 1
        self.attempt += 1
        return None

    def delay(self) -> float:
        """Seconds to wait before the restart."""
        return DELAYS[min(self.used, len(DELAYS)) - 1]

    def record(self, cause: Cause, *, refusal: str | None, kept: Path) -> None:
        """Append the failure to the run's table; `seconds_lost` are those whose work is done again."""
        now = time.time()
        step, at = newest(self.folder)
        row = {
            "time": datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds"),
            "detected": now,
            "attempt": self.attempt - (refusal is None),
            "host": socket.gethostname(),
            "rank": cause.rank,
            "kind": cause.kind,
            "cause": cause.text,
            "step": cause.beat.step,
            "resumes_at": max(step, 0),
            "seconds_lost": round(now - max(at, self.began), 3),
            "restarted": refusal is None,
            "left": self.left,
            "kept": str(kept),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / TABLE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.began = now


def newest(folder: Path) -> tuple[int, float]:
    """Step and time of the newest checkpoint, by its name alone; -1 and 0 where there is none."""
    found = [
        (int(match[1]), path) for path in folder.glob("checkpoints/*") if (match := CHECKPOINT.fullmatch(path.name))
    ]
    if not found:
        return -1, 0.0
    step, path = max(found)
    return step, path.stat().st_mtime if path.exists() else 0.0


def keep(folder: Path, cause: Cause, *, pages: Mapping[int, str]) -> Path:
    """Write what each rank said, and its stacks, into a folder of its own in the run's; return that."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    kept = folder / "crashes" / stamp
    kept.mkdir(parents=True)
    who = f"rank {cause.rank} " if cause.rank is not None else "a rank "
    (kept / "cause.txt").write_text(f"{who}{cause.text}\n", encoding="utf-8")
    for rank, text in pages.items():
        (kept / f"rank-{rank}.txt").write_text(text, encoding="utf-8")
    return kept
