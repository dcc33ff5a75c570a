"""A look at the machines before training: is each fit to take part, and do all of them reach each other?

- Alone: the device is visible and multiplies known matrices rightly, its memory is free, /dev/shm and the run's folder
  can be written. What fails there is this node's fault: `NodeError`, exit code 76, and a job starts again without it.
- Together: all come to one place, every rank sends known bytes to the next one, and a known sum goes around. A rank
  that neither hears its neighbour nor is heard, while others do, is at fault; a link far slower than the others is
  told, and used.
- Nothing is waited for without end: a thread ends the process when the time is over, also where a driver hangs.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dit_video import log
from dit_video.errors import NodeError, UserError
from dit_video.launch import report
from dit_video.launch.folder import MEMORY, ROOM  # what is asked of the run's folder too
from dit_video.launch.shared import node
from dit_video.parallel import agree
from dit_video.signals import BAD_NODE

LOG = log.get("dit_video.parallel")
ALONE, COMING, TOGETHER = 120.0, 600.0, 90.0  # seconds for the node itself, for all to come, for the links
FREE = 0.5  # of a device's memory: less, and another process sits there
BYTES = {"cpu": 2**21, "cuda": 2**26}  # that are sent
SIDE = {"cpu": 256, "cuda": 2048}  # of the matrices
SLOW = 5  # times slower than the middle one of its kind, and a link is worth a word
MEGA = 1e6


@dataclass
class Preflight:
    """The look of one rank, step by step: `alone`, `gather`, `together`; `folder` is the run's, on every node."""

    folder: Path
    device: torch.device
    began: float = field(default_factory=time.monotonic)
    free: tuple[int, ...] = ()
    store: dist.Store | None = None
    rank: int = field(default_factory=lambda: int(os.environ.get("RANK", "0")))
    size: int = field(default_factory=lambda: int(os.environ.get("WORLD_SIZE", "1")))

    def alone(self) -> None:
        """NodeError where this node is not fit; UserError where the run's folder, which all share, is full."""
        with limited(ALONE, lambda: NodeError(f"{node()}: the device or a folder has not answered for {ALONE:.0f} s")):
            memory = look_at(self.device)
            shared, folder = room(MEMORY) if MEMORY.is_dir() else 0, room(self.folder)
            if MEMORY.is_dir() and shared < ROOM:
                raise NodeError(
                    f"{node()}: {MEMORY} has {shared // 2**20} MiB free, at least {ROOM // 2**20} are needed"
                )
            if folder < ROOM:
                raise UserError(f"{self.folder} is full; free some room, then the same command goes on")
            self.free = (memory, shared, folder)

    def gather(self) -> None:
        """Wait for the others; RuntimeError names those that do not come."""
        if self.size == 1:
            return
        host, port, first = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), self.rank == 0
        agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        limit = timedelta(seconds=COMING)
        with limited(COMING + TOGETHER, lambda: RuntimeError(f"failed to connect to rank 0 at {host}:{port}")):
            store = dist.TCPStore(
                host, port, None, first and not agent, limit, wait_for_workers=False, multi_tenant=True
            )
            start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store outlives a start
            self.store = dist.PrefixStore(f"preflight-{start}", store)
            self.store.set(f"node-{self.rank}", node())
            if first:
                self.store.set("missing", self.missing(time.monotonic() + COMING))
            self.store.wait(["missing"], timedelta(seconds=COMING + TOGETHER))
            if missing := self.store.get("missing").decode():
                raise RuntimeError(f"failed to connect: rank {missing} has not come within {COMING:.0f} s")

    def missing(self, until: float) -> str:
        """The ranks that have not come by then, a few of them by number."""
        assert self.store is not None
        away = list(range(self.size))
        while away and time.monotonic() < until:
            away = [rank for rank in away if not self.store.check([f"node-{rank}"])]
            time.sleep(0.05 if away else 0)
        return ", ".join(map(str, away[:8])) + (" ..." if len(away) > 8 else "")

    def together(self) -> None:
        """Try the links between ranks, once they have joined; rank 0 tells in one line how all is."""
        if self.store is None or agree.alone():  # a strategy that joins later
            return
        with limited(TOGETHER, self.guilt):
            speed = self.ring()
            self.store.set(f"heard-{self.rank}", "")
            rate = self.reduce()
            rows = agree.gathered([int(speed / MEGA), *(int(item / MEGA) for item in self.free)])
        names = [self.store.get(f"node-{rank}").decode() for rank in range(self.size)] if self.rank == 0 else []
        if names:
            for line in slow([row[0] for row in rows], names):
                LOG.warning("%s", line)
            least = [min(column) for column in zip(*rows, strict=True)]
            LOG.info("%s", self.line(least, most=max(row[0] for row in rows), rate=rate, nodes=len(set(names))))

    def line(self, least: Sequence[int], *, most: int, rate: float, nodes: int) -> str:
        """How all is."""
        links, memory, shared, folder = least
        free = [f"{shared / 1e3:.1f} GB of {MEMORY}", f"{folder / 1e3:.1f} GB of {self.folder}"]
        if self.device.type != "cpu":
            free = [f"{memory / 1e3:.1f} GB of a device", *free]
        seconds = time.monotonic() - self.began
        return (
            f"pre-flight: {self.size} ranks on {nodes} node(s) are fit ({seconds:.1f} s); "
            f"links {links} to {most} MB/s, all-reduce {rate / MEGA:.0f} MB/s; "
            f"free at least {', '.join(free)}"
        )

    def ring(self) -> float:
        """Send known bytes to the next rank; bytes a second that came from the one before."""
        after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        sent, came = known(self.rank, self.device), torch.empty_like(known(0, self.device))
        speed = 0.0
        for _ in range(2):  # the first time connects
            began = time.monotonic()
            ways = [dist.P2POp(dist.isend, sent, after), dist.P2POp(dist.irecv, came, before)]
            for work in dist.batch_isend_irecv(ways):
                work.wait()
            finish(self.device)
            speed = came.numel() / (time.monotonic() - began)
        if not torch.equal(came, known(before, self.device)):
            raise NodeError(f"{node()}: what came from rank {before} is not what was sent")
        return speed

    def reduce(self) -> float:
        """Add up known numbers of all ranks; bytes a second that each of them sent."""
        count = BYTES[self.device.type] // 4
        for _ in range(2):
            numbers = torch.full((count,), float(self.rank + 1), device=self.device)
            finish(self.device)
            began = time.monotonic()
            dist.all_reduce(numbers)
            finish(self.device)
            seconds = time.monotonic() - began
        expected = self.size * (self.size + 1) / 2
        if not bool((numbers == expected).all()):
            raise RuntimeError(f"{node()}: an all-reduce gave {float(numbers.max())}, and {expected} is right")
        return 8 * count * (self.size - 1) / self.size / seconds

    def guilt(self) -> Exception:
        """Whose fault it is that the links do not answer, by who has heard whom."""
        after = (self.rank + 1) % self.size
        told = f"failed to connect: links between ranks have not answered for {TOGETHER:.0f} s"
        with suppress(RuntimeError):
            assert self.store is not None
            heard = [rank for rank in range(self.size) if self.store.check([f"heard-{rank}"])]
            if heard and self.rank not in heard and after not in heard:
                return NodeError(f"{node()}: rank {self.rank} hears no other rank and is not heard, while others are")
        return RuntimeError(told)


def device(accelerator: str, devices: Any = "auto") -> torch.device:
    """The device of this process, of those that are listed; NodeError where SLURM gave one that torch does not see."""
    given = any(os.environ.get(name) for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"))
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count() if accelerator != "cpu" else 0
    if accelerator in {"gpu", "cuda"} and given and "SLURM_JOB_ID" in os.environ and count <= local:
        raise NodeError(f"{node()}: SLURM has given it GPUs, and torch sees {count}; nvidia-smi on it tells more")
    listed = devices.split(",") if isinstance(devices, str) and "," in devices else devices
    number = int(listed[local]) if isinstance(listed, Sequence) and not isinstance(listed, str) else local
    return torch.device("cuda", number) if count > local else torch.device("cpu")


def begin(*, wanted: bool | None, accelerator: str, devices: Any = "auto", folder: Path) -> Preflight | None:
    """The look at this node, which is done; None where none is `wanted`: on a CPU without SLURM, and alone."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    by_default = "SLURM_STEP_ID" in os.environ or (several and accelerator != "cpu")
    if not (by_default if wanted is None else wanted):
        return None
    with limited(ALONE, lambda: NodeError(f"{node()}: the device has not answered for {ALONE:.0f} s")):
        found = Preflight(folder=folder, device=device(accelerator, devices))
    found.alone()
    return found


def look_at(device: torch.device) -> int:
    """Multiply known matrices, and compare with what is right; bytes that are free, 0 on a CPU.

    The product of whole numbers is exact in any precision that matrices are multiplied in; it is compared by
    Freivalds' check, (a b) x = a (b x), on the CPU.
    """
    side, numbers = SIDE[device.type], torch.Generator().manual_seed(0)
    a, b = (torch.randint(-1, 2, (side, side), generator=numbers).float() for _ in range(2))
    x = torch.randint(-8, 9, (side,), generator=numbers).double()
    try:
        product = (a.to(device) @ b.to(device)).cpu().double()
        free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
    except RuntimeError as error:
        raise NodeError(f"{node()}: {device} does not work: {str(error).splitlines()[0]}") from error
    if not torch.equal(product @ x, a.double() @ (b.double() @ x)):
        raise NodeError(f"{node()}: {device} multiplies matrices wrongly")
    if free < FREE * total:
        raise NodeError(f"{node()}: {device} has {free / 1e9:.1f} of {total / 1e9:.1f} GB free; another process has it")
    return free


def room(path: Path) -> int:
    """Bytes that are free; NodeError where nothing can be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise NodeError(f"{node()}: {path} is not there: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise NodeError(f"{node()}: {path} cannot be written")
    return free


def known(rank: int, device: torch.device) -> torch.Tensor:
    """What a rank sends: bytes (n,) that are its own."""
    return ((torch.arange(BYTES[device.type], device=device) + 31 * rank) % 251).to(torch.uint8)


def finish(device: torch.device) -> None:
    """Wait for what was asked of a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def slow(speeds: Sequence[int], names: Sequence[str]) -> list[str]:
    """Lines about links that are far slower than the others of their kind: within a node, or between nodes.

    `speeds` in MB/s are of the link from the rank before; `names` are the ranks' nodes.
    """
    lines = []
    kinds = [names[rank - 1] == names[rank] for rank in range(len(names))]
    for rank, speed in enumerate(speeds):
        others = [other for other, kind in zip(speeds, kinds, strict=True) if kind == kinds[rank]]
        usual = statistics.median(others)
        if len(others) > 2 and speed * SLOW < usual:
            before = (rank - 1) % len(names)
            way = f"from rank {before} on {names[before]} to rank {rank} on {names[rank]}"
            lines.append(f"pre-flight: the link {way} is slow: {speed} MB/s, where {usual:.0f} are usual")
    return lines


@contextmanager
def limited(seconds: float, error: Callable[[], Exception]) -> Iterator[None]:
    """End this process with what `error` says where the block takes longer: it may hang where no exception reaches."""

    def end() -> None:
        found = error()
        report.write(found)
        sys.stderr.write(f"error: {found}\n")
        sys.stderr.flush()
        os._exit(BAD_NODE if isinstance(found, NodeError) else 1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
