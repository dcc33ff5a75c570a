"""All that a run's folder says of it, read once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dit_video import saves
from dit_video.runs import attempts, files, lock, sign
from dit_video.runs.attempts import Settled
from dit_video.runs.files import Rows, Said
from dit_video.runs.find import JOBS
from dit_video.runs.lock import Lock
from dit_video.runs.sign import Sign
from dit_video.saves import Checkpoint

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the files of a run say; `seen` is when the newest of them was written, `said` what could not be read.

    `jobs` are SLURM's numbers in the order of submission, `verdict` what followed the end of its newest start;
    `samples` is the length of the run, None where nobody knows.
    """

    path: Path
    name: str
    kind: str
    samples: int | None
    sign: Sign | None
    seen: float
    lock: Lock | None
    checkpoints: Sequence[Checkpoint]
    rows: Rows
    restarts: Sequence[dict[str, Any]]
    submitted: Sequence[dict[str, Any]]
    verdict: Settled | None
    said: Sequence[str]

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs that the run has had."""
        own = [self.sign.job] if self.sign is not None and self.sign.job else []
        ids = [str(row["job"]) for row in self.submitted if row.get("job")]
        return tuple(dict.fromkeys([*ids, *own]))

    @property
    def began(self) -> float:
        """When the process that trained last began, as far as anyone knows."""
        if self.sign is not None:
            return self.sign.began
        return self.lock.time if self.lock is not None else 0.0

    @property
    def complete(self) -> bool:
        """Whether all samples have been seen, and that is saved."""
        saved = self.checkpoints[0].samples_seen if self.checkpoints else 0
        ended = self.sign is not None and self.sign.ended is not None and self.sign.ended.how == "done"
        return ended or (self.samples is not None and saved >= self.samples)


def read(path: Path, *, name: str, whole: bool = False) -> Record:
    """Read the run in `path`; of a `whole` one all that metrics.csv has, else its end."""
    said: list[str] = []
    own = signed(path, said=said.append)
    about = (own.kind, own.samples) if own is not None else basics(path, said=said.append)
    table = files.spread if whole else files.tail
    return Record(
        path=path,
        name=name,
        kind=about[0],
        samples=about[1],
        sign=own,
        seen=max(written(path / part) for part in (sign.NAME, "metrics.csv", lock.NAME, "restarts.jsonl")),
        lock=lock.look(path),
        checkpoints=saves.checkpoints(path),
        rows=table(path / "metrics.csv", said=said.append),
        restarts=files.objects(path / "restarts.jsonl", said=said.append),
        submitted=files.objects(path / JOBS, said=said.append),
        verdict=attempts.last(path, said=said.append),
        said=said,
    )


def signed(path: Path, *, said: Said) -> Sign | None:
    """What the run last said of itself."""
    try:
        return sign.read(path)
    except (ValueError, OSError) as error:
        said(f"{path / sign.NAME} is damaged ({error}); it is left out")
        return None


def basics(path: Path, *, said: Said) -> tuple[str, int | None]:
    """Kind and length of a run by its config.yaml, of which two sections are enough."""
    text = files.text_of(path / "config.yaml", said=said)
    if text is None:
        return "", None
    try:
        parts = {key: yaml.load(section(text, key), Loader=LOADER) or {} for key in ("tasks", "run")}
        target, samples = parts["tasks"].get("_target_", ""), parts["run"].get("samples")
    except (yaml.YAMLError, AttributeError):
        said(f"{path / 'config.yaml'} is damaged; it is left out")
        return "", None
    return kind_of(str(target)), samples if isinstance(samples, int) else None


def kind_of(target: str) -> str:
    """What is trained, by the task: dit_video.tasks.dit.DiTTask is a dit."""
    return target.split(".")[-2] if target.count(".") else target


def section(text: str, key: str) -> str:
    """The lines below a key at the top of a YAML file, up to the first that is deeper than two levels."""
    found = re.search(rf"^{key}:\n((?:  \S.*(?:\n|$))+)", text, flags=re.MULTILINE)
    return found[1] if found else ""


def written(path: Path) -> float:
    """When a file was written last; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def settings(path: Path, *, said: Said) -> dict[str, Any]:
    """All of a run's config.yaml."""
    text = files.text_of(path / "config.yaml", said=said)
    try:
        found = yaml.load(text or "", Loader=LOADER)
    except yaml.YAMLError:
        said(f"{path / 'config.yaml'} is damaged; it is left out")
        found = None
    return found if isinstance(found, dict) else {}
