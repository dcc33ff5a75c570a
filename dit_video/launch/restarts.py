"""Whether a run that crashed is worth another attempt, and what is kept of the crash."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dit_video.launch.cause import ELSEWHERE, Cause
from dit_video.launch.heartbeat import Beat

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
        if cause.beat.done == 0 and self.attempt == 1 and cause.kind not in ELSEWHERE | {"consequence"}:
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

    def record(
        self, cause: Cause, *, refusal: str | None, kept: Path, more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Append the failure to the run's table, with `more`; `seconds_lost` are those whose work is done again."""
        now = time.time()
        step, at = newest(self.folder)
        row = {
            "time": moment(now),
            "detected": now,
            "attempt": self.attempt - (refusal is None),
            "host": socket.gethostname(),
            "rank": cause.rank,
            "kind": cause.kind,
            "cause": cause.text,
            "name": cause.name,
            "place": cause.place,
            "step": cause.beat.step,
            "done": cause.beat.done,
            "resumes_at": max(step, 0),
            "seconds_lost": round(now - max(at, self.began), 3),
            "restarted": refusal is None,
            "left": self.left,
            "refusal": refusal,
            "kept": str(kept),
            **more,
        }
        append(self.folder, row)
        self.began = now


def continued(folder: Path, *, restarts: int, rows: Sequence[Mapping[str, Any]], attempt: int) -> Budget:
    """The budget of a job at its start number `attempt`, from the rows of those before that failed."""
    budget = Budget(folder=folder, restarts=restarts, attempt=attempt)
    budget.saved = -1
    for row in rows:
        if row["resumes_at"] > max(budget.saved, 0):
            budget.saved, budget.used = row["resumes_at"], 0
        budget.used += bool(row["restarted"])
        budget.last = Cause(
            rank=row["rank"],
            kind=row["kind"],
            name=row["name"],
            text=row["cause"],
            code=1,
            time=row["detected"],
            beat=Beat(phase=row["place"][0], step=row["place"][1], done=row["done"]),
        )
    return budget


def moment(seconds: float) -> str:
    """A time as the table has it, with its offset."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the run's table."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / TABLE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def table(folder: Path) -> list[dict[str, Any]]:
    """All rows of the run's table; a line that was cut off is left out."""
    path, rows = folder / TABLE, []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


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
