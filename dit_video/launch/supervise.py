"""The parent's life: start the ranks, watch them, and after a crash start them again while that leads anywhere."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dit_video import log
from dit_video.config.mistakes import INTERRUPTED
from dit_video.launch import cause, folder, heartbeat, report, restarts, shared, watch
from dit_video.launch.cause import Cause
from dit_video.launch.group import Group, Rank
from dit_video.launch.heartbeat import BEGINNING
from dit_video.launch.job import Job
from dit_video.launch.listen import Signals
from dit_video.launch.shared import Ending
from dit_video.launch.world import free_port
from dit_video.signals import LISTENER, REQUEUE

LOG = log.get("dit_video.launch")
TICK = 0.2  # seconds
GRACE = 5.0  # seconds that the other ranks have to end after a failure
CLASHES = 5
IN_USE = "EADDRINUSE", "address already in use"


def supervise(job: Job, *, command: Sequence[str], files: dict[str, str]) -> int:
    """Run `command` as every rank of the job until the run ends, and return the exit code.

    `files` (name, text) lie in the folder that the ranks find in DIT_VIDEO_WATCH.
    """
    log.setup()
    with Signals() as signals, folder.watch_folder() as meeting:
        for name, text in files.items():
            (meeting / name).write_text(text, encoding="utf-8")
        return Supervisor(job=job, command=command, signals=signals, folder=meeting).run()


@dataclass
class Supervisor:
    """Attempts, and what is decided between them."""

    job: Job
    command: Sequence[str]
    signals: Signals
    folder: Path
    stopping: list[signal.Signals] = field(default_factory=list)
    lasting: bool = False  # whether a rank outlived SIGKILL
    replaced: bool = False  # whether SLURM has given this start up, and started the job again
    began: float = field(default_factory=time.time)
    detected: float | None = None  # when the failure of this attempt was noticed
    frames: dict[int, tuple[str, ...]] = field(default_factory=dict)  # of ranks that are ended for others

    def __post_init__(self) -> None:
        self.shared = shared.of(self.job.world.size)
        if LISTENER.code:  # a signal has come while Python imported
            self.stopping.append(signal.SIGTERM)

    def run(self) -> int:
        """Until an attempt ends well, by intent, or in a way that a restart does not mend."""
        budget, clashes = restarts.Budget(folder=self.job.dir, restarts=self.job.restarts), 0
        while True:
            self.shared.write(self.endings())
            group = self.start()
            found = self.attend(group)
            if self.shared.attempt is not None:
                return self.part(found, group)
            if found is not None and clashes < CLASHES and port_taken(found):
                clashes += 1
                continue
            if (code := self.settle(found, group, budget)) is not None:
                return code

    def part(self, found: Cause | None, group: Group) -> int:
        """The exit code of a task of a job: what follows is decided when all tasks have ended, from what is written."""
        if self.replaced:
            LOG.error("%s is a later start of this job; this one has ended", shared.later(self.shared.attempt))
            return 1  # what is known of this start is for the other to say, which has given it up
        if found is not None and found.failed and self.stopping and found.beat.phase == "end":  # it had saved
            found = replace(found, kind="stop", code=self.asked)
        bad = bool(self.frames) if found is None else found.kind not in {"done", "stop"}
        self.shared.write(self.endings(found, group), self.pages(group) if bad else {})
        if found is None or not bad:
            return 1 if bad else self.stopped(found)
        return found.code

    def endings(self, found: Cause | None = None, group: Group | None = None) -> list[Ending]:
        """How the ranks stand, or have ended; `found` decided it."""
        ranks = group.ranks if group else []
        causes, beats = {rank.number: rank.cause() for rank in ranks}, {rank.number: rank.beat() for rank in ranks}
        if found is not None and found.rank is not None:
            causes[found.rank] = found
        return [
            Ending(
                rank=number,
                size=self.job.world.size,
                node=shared.node(),
                restarts=self.job.restarts,
                began=self.began,
                ended=time.time() if group else None,
                detected=self.detected,
                cause=causes.get(number) if group else None,
                beat=beats.get(number, BEGINNING),
                frames=self.frames.get(number, ()),
            )
            for number in self.job.world.ranks
        ]

    def start(self) -> Group:
        """All ranks of this command, from nothing."""
        folder.clear(self.folder)
        world, port = self.job.world, free_port()
        ranks: list[Rank] = []
        group = Group(ranks)
        for number in world.ranks:
            own = world.environment(number, port=port, run=self.folder.name)
            environment = {**os.environ, **own}
            ranks.append(Rank(number, self.command, environment=environment, folder=self.folder, first=number == 0))
        for early in self.stopping:
            group.send(early)
        return group

    def attend(self, group: Group) -> Cause | None:
        """Watch the ranks until all have ended; what decided how they did, or None if all is done."""
        clock = watch.Clock()
        dog = watch.Watchdog(silence=self.job.silence, patience=self.job.patience, whole=self.job.world.whole)
        until: float | None = None
        hung: Cause | None = None
        while group.living and not self.lasting:
            self.hear(group)
            group.poll()
            now = clock.tick()
            alarmed = self.consult(group, dog, now=now)
            if until is None and (found := cause.first(group.causes())) is not None and found.name != cause.AGREED:
                until = now + (GRACE if found.beat.done else GRACE / 5)
            if until is None and (hang := dog.look(group.living, now=now, waiting=bool(self.stopping))) is not None:
                hung, until = watch.guilty(hang, group.living), now
            if until is not None and not group.saving:
                self.shared.alarm()
            if until is None and alarmed:
                until = now + GRACE
            self.detected = self.detected or (time.time() if until is not None else None)
            patience = report.SAVING if group.saving else 0.0
            if self.impatient or self.replaced or (until is not None and now >= until + patience):
                self.frames = watch.frames(group.living) if alarmed and hung is None else {}
                self.lasting = not group.kill()
        return (group.told() or hung) if hung else cause.first(group.causes())

    def consult(self, group: Group, dog: watch.Watchdog, *, now: float) -> bool:
        """Hear of the other tasks of a job: pass on a file's wish to stop; whether a rank elsewhere has failed."""
        heard = self.shared.look(now)
        self.replaced = "later" in heard
        if "stop" in heard and signal.SIGUSR1 not in self.stopping:
            group.send(signal.SIGUSR1)
            self.stopping.append(signal.SIGUSR1)
        if self.shared.attempt is not None:
            self.shared.quiet(self.job.world.ranks, on=dog.quiet(now))
            dog.whole = self.job.world.whole or "quiet" in heard
        return "alarm" in heard

    @property
    def impatient(self) -> bool:
        """Whether ctrl-C was pressed a second time."""
        return self.stopping.count(signal.SIGINT) > 1

    def hear(self, group: Group) -> None:
        """Wait a moment for something to happen; a signal to stop is passed on once, a second ctrl-C ends it all."""
        for number in self.signals.wait(TICK, pipes=group.pipes()):
            if number not in self.stopping:
                group.send(signal.SIGTERM if number == signal.SIGHUP else number)
            self.stopping.append(number)

    def settle(self, found: Cause | None, group: Group, budget: restarts.Budget) -> int | None:
        """The exit code of the run, or None for another attempt; what went wrong is told and kept."""
        ended = found is not None and self.stopping and found.beat.phase == "end"  # it saved, and hung at the very end
        if found is None or found.kind == "stop" or ended or self.impatient:
            return self.stopped(found)
        if found.kind in {"mistake", "node"}:
            if found.text and report.read(self.folder, found.rank or 0) is not None:
                LOG.error("error: %s", found.text)
            return found.code
        refusal = "a rank cannot be ended: the kernel waits for a device" if self.lasting else None
        refusal = refusal or ("it was asked to stop" if self.stopping else None)
        refusal = refusal or (budget.refusal(found) if self.job.restarts else "")
        kept = self.keep(found, group, budget, refusal=refusal)
        origin = f"the checkpoint of step {budget.saved}" if budget.saved >= 0 else "the start"
        again = f"starting again from {origin}, {budget.left} more restart(s) without a new checkpoint"
        self.tell(
            found, kept=kept, then=again if refusal is None else f"not started again: {refusal}" if refusal else ""
        )
        if refusal is None:
            return self.wait(budget.delay())
        return 1 if found.same(budget.before) else found.code

    def keep(self, found: Cause, group: Group, budget: restarts.Budget, *, refusal: str | None) -> str:
        """Write down what is known, and say where; a full disk may be the very cause."""
        try:
            kept = restarts.keep(self.job.dir, found, pages=self.pages(group))
            budget.record(found, refusal=refusal, kept=kept)
        except OSError as error:
            return f"nothing more could be kept: {error.strerror}"
        return f"more in {kept}"

    def stopped(self, found: Cause | None) -> int:
        """The exit code of an end by intent."""
        if self.impatient:
            LOG.error("interrupted")
            return INTERRUPTED
        if found is None:
            return 0
        if signal.SIGINT in self.stopping and found.beat.done == 0:
            LOG.error("interrupted")
        return found.code if found.kind == "stop" else self.asked

    @property
    def asked(self) -> int:
        """The exit code that the signals ask for."""
        return INTERRUPTED if signal.SIGINT in self.stopping else REQUEUE

    def wait(self, seconds: float) -> int | None:
        """Wait before a restart; the exit code if a signal comes meanwhile."""
        clock = watch.Clock()
        while clock.tick() < seconds:
            for number in self.signals.wait(TICK):
                return INTERRUPTED if number == signal.SIGINT else REQUEUE
        return None

    def pages(self, group: Group) -> dict[int, str]:
        """All that is known of each rank, as text."""
        pages = {}
        for rank in group.ranks:
            record, path = report.read(self.folder, rank.number), heartbeat.stack_file(self.folder, rank.number)
            stack = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            ended = "killed after the others" if rank.killed else f"exit code {rank.code}"
            parts = [
                f"rank {rank.number} on {socket.gethostname()}, process {rank.process.pid}: {ended}; {rank.beat()}",
                f"{record.name}: {record.text}\n{record.traceback}" if record else "",
                f"stacks\n{stack}" if stack else "",
                f"its last lines\n{rank.voice.text()}" if rank.voice.lines else "",
            ]
            pages[rank.number] = "\n\n".join(part for part in parts if part) + "\n"
        return pages

    def tell(self, found: Cause, *, kept: str, then: str) -> None:
        """What happened, where it happened and what follows, on standard error."""
        if found.shown:
            LOG.error("%s", found.shown)
        who = f"rank {found.rank}" if found.rank is not None else "a rank"
        LOG.error("%s on %s %s%s (%s)", who, socket.gethostname(), found.text, f"; {then}" if then else "", kept)


def port_taken(found: Cause) -> bool:
    """Whether another process took the port first."""
    return found.beat.done == 0 and any(text in found.text for text in IN_USE)
