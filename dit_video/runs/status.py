"""One run on a page: what it is, how far it is, what happened to it, and what to type next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dit_video.runs import record, text
from dit_video.runs.attempts import attempts
from dit_video.runs.state import told
from dit_video.runs.summary import Summary
from dit_video.runs.sweep import VALIDATION

LABEL = 12  # letters
SHOWN = 5  # restarts, jobs and attempts
SETTINGS = (
    ("model", ("tasks.dit", "tasks.vae", "tasks.recaptioner"), ("width", "depth", "heads", "patch", "channels")),
    ("data", ("datamodules",), ("dataset", "length", "packs", "pixels", "frames", "fps", "batch")),
    ("optimizer", ("optim",), ("_target_", "lr", "weight_decay")),
    ("averages", ("callbacks.ema",), ("half_life",)),
    ("machine", ("trainer",), ("accelerator", "devices", "num_nodes", "precision")),
    ("plan", ("parallel",), ("replicate", "shard", "sequence", "recompute", "compile")),
    ("run", ("run",), ("seed", "samples", "every_samples", "restarts")),
)


def page(run: Summary, *, width: int | None) -> tuple[list[str], list[str]]:
    """The lines of the page, and lines about what could not be read."""
    said: list[str] = []
    room = (width or 120) - LABEL
    settings = record.settings(run.record.path, said=said.append)
    failures = {Path(str(row.get("kept", ""))).name for row in run.record.restarts}
    parts: list[tuple[str, Iterator[str]]] = [
        ("state", state(run)),
        ("progress", progress(run)),
        ("loss", losses(run, width=room)),
        ("checkpoints", checkpoints(run)),
        ("settings", chosen(settings)),
        ("jobs", jobs(run)),
        ("attempts", attempts(run.record.path, said=said.append, told=failures)),
        ("restarts", restarts(run.record.restarts)),
        ("log", logs(run)),
        ("next", following(run)),
    ]
    own = run.record.sign
    lines = [
        " · ".join(
            filter(None, (own.name if own is not None else run.record.name, run.record.kind, str(run.record.path)))
        )
    ]
    for label, found in parts:
        fit = None if width is None or label == "next" else room  # a command is copied as it stands
        for number, line in enumerate(part for whole in found for part in text.wrapped(whole, width=fit)):
            lines.append(f"{'' if number else label:<{LABEL}}{line}")
    return lines, said


def state(run: Summary) -> Iterator[str]:
    """The state, why, and where."""
    found, own, now = run.state, run.record.sign, time.time()
    on = f" on {found.hosts}" if found.hosts else ""
    yield f"{found.word}{on}{f': {found.why}' if found.why else ''}"
    if own is not None:
        end = own.ended.time if own.ended is not None else 0.0
        when = (
            f"ended {text.span(now - end)} ago" if end else f"last sign of life {text.span(now - run.record.seen)} ago"
        )
        first = f"{own.ranks} rank(s), the first is process {own.process} on {own.host}"
        yield f"{first}; began {moment(own.began)}; {when}"


def progress(run: Summary) -> Iterator[str]:
    """Where it is, and how fast it goes."""
    whole = f" of {text.count(run.record.samples)}" if run.record.samples else ""
    parts = [
        f"step {text.count(run.step or 0)}",
        f"{text.count(run.samples_seen or 0)}{whole} samples",
        f"{text.rate(run.rate)} samples/s" if run.rate else "",
        f"{text.rate(run.units)} {run.unit}/s" if run.units else "",
        f"{text.span(run.left)} left" if run.left is not None else "",
    ]
    yield " · ".join(filter(None, parts))


def losses(run: Summary, *, width: int) -> Iterator[str]:
    """Curves from the first to the last step."""
    for name in ("loss", *VALIDATION[:1]):
        found = run.record.rows.column(name) or (run.record.rows.column(VALIDATION[1]) if name != "loss" else [])
        if found:
            first, last = text.figure(found[0]), text.figure(run.loss if name == "loss" else found[-1])
            what = "the last 50 steps" if name == "loss" else "held out"
            room = max(min(width - len(first) - len(last) - len(what) - 4, 60), 8)
            yield f"{first} {text.curve(found, width=room)} {last} {what}"


def checkpoints(run: Summary) -> Iterator[str]:
    """Those that are kept."""
    for item in run.record.checkpoints[:SHOWN]:
        age = text.span(time.time() - item.time)
        yield f"step {text.count(item.step)}, {text.count(item.samples_seen)} samples, {age} ago: {item.path}"
    yield from rest(run.record.checkpoints)


def rest(items: Sequence[object]) -> Iterator[str]:
    """How many more there are."""
    if len(items) > SHOWN:
        yield f"and {len(items) - SHOWN} more"


def chosen(settings: Mapping[str, Any]) -> Iterator[str]:
    """The settings that matter, those that are set."""
    for label, places, keys in SETTINGS:
        node = next((found for place in places if (found := at(settings, place))), {})
        values = {key: node[key] for key in keys if node.get(key) is not None}
        if values:
            shown = [
                str(value).rpartition(".")[2] if key == "_target_" else f"{key}={value}"
                for key, value in values.items()
            ]
            yield f"{label}: {' '.join(shown)}"


def at(settings: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """A node of the settings; an empty one where there is none."""
    node: Any = settings
    for key in place.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def jobs(run: Summary) -> Iterator[str]:
    """What was submitted, the newest first."""
    rows = [row for row in reversed(run.record.submitted) if row.get("job")]
    for row in rows[:SHOWN]:
        yield f"{row['job']} submitted {row.get('time', '')}: {row.get('script', '')}"
    yield from rest(rows)


def restarts(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Failures, the newest first: when, who, of what, and what followed."""
    for row in list(reversed(rows))[:SHOWN]:
        then = f"went on from step {row.get('resumes_at', '?')}" if row.get("restarted") else "not started again"
        why = f" ({row['refusal']})" if row.get("refusal") else ""
        yield f"{row.get('time', '')}: {told(row)}; {then}{why}"
        if row.get("excluded"):
            yield f"  left out from then on: {', '.join(row['excluded'])}"
        if row.get("kept"):
            yield f"  more in {row['kept']}"
    yield from rest(rows)


def logs(run: Summary) -> Iterator[str]:
    """Where its output is."""
    for job in reversed(run.record.jobs):
        path = run.record.path / "slurm" / f"{job}.out"
        if path.is_file():
            yield str(path)
            return


def following(run: Summary) -> Iterator[str]:
    """What to type next."""
    own, word = run.record.sign, run.state.word
    newest = run.record.jobs[-1] if run.record.jobs else None
    if word in {"running", "queued", "requeued"}:
        log = next(logs(run), None)
        watch = f"python -m dit_video.runs status {shlex.quote(str(run.record.path))} watch=true"
        yield f"follow: {f'tail -f {shlex.quote(log)}' if log else watch}"
        if newest is not None:
            yield f"cancel: scancel {newest}"
        elif own is not None and word == "running":
            stopped = own.parent.partition("-")[0] if own.parent else own.process
            yield f"stop, saved: kill {stopped}   (on {own.host})"
    elif word == "done":
        yield "the same command with a larger run.samples goes on"
    else:
        caution = f"make sure that {run.state.hosts} is down, then " if word == "lost" else ""
        given = command(run)
        yield f"resume: {caution}{given}" if given else f"resume: {caution}the command that began it, as it was"


def command(run: Summary) -> str | None:
    """The command that goes on with a run, with the folder it was given in where that is another."""
    rows = [row for row in run.record.submitted if row.get("script")]
    if rows:
        return f"sbatch {shlex.quote(str(rows[-1]['script']))}"
    own = run.record.sign
    if own is None or own.command is None:
        return None
    return own.command if Path(own.folder) == Path.cwd() else f"cd {shlex.quote(own.folder)} && {own.command}"


def moment(seconds: float) -> str:
    """A time as a clock on the wall here shows it."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
