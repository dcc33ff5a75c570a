"""Saving in the background: training waits for a copy of the state, not for the disk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from dit_video import log
from dit_video.checkpoint.folder import About, Rule, prune, put
from dit_video.checkpoint.manifest import Progress
from dit_video.checkpoint.pieces import Copies, Piece, own
from dit_video.checkpoint.state import State, size_of
from dit_video.parallel import agree

PATIENCE = timedelta(hours=2)  # between the fastest and the slowest process of a save


class Saver:
    """Saves the checkpoints of a run into `folder` one after the other, and keeps those of `rule`.

    Every process of the run makes one at the same moment, and calls `begin` at the same steps. Processes write together
    over a group of their own, so that nothing is between training and them. The end of a process waits for its thread.
    """

    def __init__(self, folder: Path, *, rule: Rule) -> None:
        self.folder, self.rule = folder, rule
        self.group = agree.fresh_group(timeout=PATIENCE)
        self.copies = Copies()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.pending: Future[Path] | None = None

    def begin(self, state: State, *, config: str, fingerprint: str, step: int, samples_seen: int) -> Future[Path]:
        """Copy `state` and return; a thread writes the copy. Waits for the save before to end, well or not.

        The future gives the checkpoint's path, or raises CheckpointError on all processes where one failed, in its copy
        too.
        """
        self.wait()
        about = About(config=config, progress=Progress(step=step, samples_seen=samples_seen, fingerprint=fingerprint))
        pieces = self._copied(state)
        size = 0 if isinstance(pieces, Exception) else size_of(state)
        self.pending = self.thread.submit(self._save, pieces, about, size)
        return self.pending

    def wait(self, *, seconds: float | None = None) -> None:
        """Return when nothing is being written, or after so many seconds."""
        if self.pending is not None:
            wait([self.pending], timeout=seconds)

    def close(self) -> None:
        """Wait, and let go of the memory of the copies."""
        self.thread.shutdown()
        self.copies = Copies()

    def _copied(self, state: State) -> list[Piece] | Exception:
        try:
            return self.copies.take(own(state))
        except Exception as error:  # raised here, the others would wait for this process in their threads
            return error

    def _save(self, pieces: Sequence[Piece] | Exception, about: About, size: int) -> Path:
        self.copies.ready()
        path = put(self.folder, pieces, about=about, size=size, group=self.group)
        if self.group is None or dist.get_rank() == 0:
            try:
                prune(self.folder, rule=self.rule, newest=path)
            except OSError as error:  # the checkpoint is there and sound all the same
                log.get("dit_video.checkpoint").warning("older checkpoints are not deleted: %s", error)
        return path
