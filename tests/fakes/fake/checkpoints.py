"""Everything that may happen to checkpoints, as often as asked: kills, failing calls, full disks, damage.

Each function works in an empty `folder` and returns counts: `tried`, `right` (the last good checkpoint was found and
all its tensors are those of its step, to the bit), and more that says what was met. `right == tried` is the promise.
Those that fork are called through `alone`.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import random
import resource
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dit_video import checkpoint
from dit_video.errors import CheckpointError
from fake import server, syscalls

REFUSED = 7  # the exit code of a save that failed and said so
LIMIT = 30.0  # seconds that a process may take to notice that its peer is gone
LIBC = ctypes.CDLL(None, use_errno=True)


def alone(function: Callable[..., dict[str, int]], *args: Any, **settings: Any) -> dict[str, int]:
    """What the function returns in a process of its own, which has no threads and no other children."""
    context = server.ready()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=tell, args=(there, partial(function, *args, **settings)))
    process.start()
    there.close()
    try:
        told = here.recv()
    finally:
        process.join()
    if isinstance(told, str):
        raise AssertionError(told)
    return told


def tell(there: Any, work: Callable[[], dict[str, int]]) -> None:
    """In the process."""
    import traceback

    torch.set_num_threads(1)
    try:
        there.send(work())
    except BaseException:
        there.send(traceback.format_exc())


def state(step: int, *, kilobytes: int = 8) -> dict[str, dict[str, Tensor]]:
    """All that a run saves, each value a function of the step."""
    wide = torch.arange(128 * kilobytes, dtype=torch.float32).reshape(-1, 32) + step
    model = {"wide": wide, "count": torch.tensor(step), "none": torch.zeros(0, 3)}
    optimizer = {"wide.momentum": 2 * wide, "wide.step": torch.tensor(float(step))}
    return {"model": model, "ema": {"wide": wide / 2}, "optimizer": optimizer, "guard": {"seen": torch.tensor([step])}}


def about(step: int) -> dict[str, Any]:
    """The rest of it."""
    return {"config": f"step: {step}\n", "fingerprint": "f", "step": step, "samples_seen": 10 * step}


def save(folder: Path, step: int, **size: int) -> None:
    """As callbacks.checkpoint does it, and wait; ends the process with `REFUSED` where it failed."""
    saver = checkpoint.Saver(folder, rule=checkpoint.Rule(keep=1))
    pending = saver.begin(state(step, **size), **about(step))
    saver.close()
    if isinstance(error := pending.exception(), CheckpointError) and "the ones before it are kept: " in str(error):
        raise SystemExit(REFUSED)
    pending.result()


def newest(folder: Path, **size: int) -> int:
    """The step of the newest checkpoint, 0 for none; AssertionError if anything in it is not of that step."""
    found = checkpoint.latest(folder)
    if found is None:
        return 0
    step = checkpoint.progress(found).step
    wanted = state(step, **size)
    read = {part: {name: torch.full_like(value, -1) for name, value in named.items()} for part, named in wanted.items()}
    progress = checkpoint.load(found, read)
    assert progress == checkpoint.Progress(step=step, samples_seen=10 * step, fingerprint="f")
    assert (found / "config.yaml").read_text(encoding="utf-8") == f"step: {step}\n"
    for part, named in wanted.items():
        for name, value in named.items():
            assert torch.equal(read[part][name], value), f"{found}: {part}.{name} is not that of step {step}"
    return step


def scene(folder: Path, kind: str) -> int:
    """Step 1 is saved and, by `kind`, something stands where step 2 will; the newest sound step."""
    shutil.rmtree(folder, ignore_errors=True)
    plain_save(folder, 1)
    if kind == "new":
        return 1
    plain_save(folder, 2)
    second = folder / "000000000020-00000002"
    if kind == "again":
        return 2
    if kind == "stale":  # what kills have left
        shutil.copytree(second, folder / ".000000000020-00000002.old")
        second.rename(folder / ".000000000020-00000002.part")
    else:
        damage = bytearray((second / "__0_0.distcp").read_bytes())
        damage[len(damage) // 2] ^= 1
        (second / "__0_0.distcp").write_bytes(damage)
    return 1


def plain_save(folder: Path, step: int, **size: int) -> None:
    """Save in this process, and keep the others."""
    checkpoint.save(folder, state(step, **size), **about(step))


def kill_sweep(folder: Path, *, kinds: tuple[str, ...] = ("new",), every: int = 1) -> dict[str, int]:
    """SIGKILL at every `every`-th write, fsync, rename, ... of a save in turn; afterwards it is saved once more."""
    return sweep(folder, kinds=kinds, every=every, fails=0)


def fail_sweep(folder: Path, number: int, *, kinds: tuple[str, ...] = ("new",), every: int = 1) -> dict[str, int]:
    """The same calls fail in turn with an error number, such as errno.EDQUOT."""
    return sweep(folder, kinds=kinds, every=every, fails=number)


def sweep(folder: Path, *, kinds: tuple[str, ...], every: int, fails: int) -> dict[str, int]:
    """Counts, the calls that were met among them."""
    counts: Counter[str] = Counter(tried=0, right=0)
    for kind in kinds:
        for at in itertools.count(1, every):
            before = scene(folder, kind)
            end = syscalls.traced(partial(save, folder, 2), at=at, fails=fails)
            if not end.met:
                assert (end.code, newest(folder)) == (0, 2)
                break
            found = newest(folder)
            expected = {-signal.SIGKILL: {before, 2}, REFUSED: {before, 2}, 0: {2}}.get(end.code, set())
            again = os.waitstatus_to_exitcode(os.waitpid(syscalls.forked(partial(save, folder, 2)), 0)[1])
            counts["tried"] += 1
            counts["right"] += found in expected and again == 0 and newest(folder) == 2
            counts[end.met] += 1
            counts["said so"] += end.code == REFUSED
    return dict(counts)


def rank_sweep(folder: Path, *, rank: int, every: int = 1) -> dict[str, int]:
    """SIGKILL of one of two ranks at every `every`-th call of a save in turn; the other one must end by itself."""
    counts: Counter[str] = Counter(tried=0, right=0, hung=0)
    for at in itertools.count(1, every):
        scene(folder, "new")
        meet = folder.with_name(f"{folder.name}.meet{at}")
        meet.unlink(missing_ok=True)
        other = syscalls.forked(partial(joined, folder, meet, 1 - rank))
        end = syscalls.traced(partial(joined, folder, meet, rank), at=at, since="mkdir")
        hung = not ended(other)
        found = newest(folder)
        if not end.met:
            assert (end.code, found, hung) == (0, 2, False)
            return dict(counts)
        counts["tried"] += 1
        counts["hung"] += hung
        counts["right"] += not hung and found in {1, 2}
        counts[end.met] += 1


def joined(folder: Path, meet: Path, rank: int) -> None:
    """Save as one of two ranks."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    save(folder, 2)  # the group is left as it is: gloo's own end waits for ever for a rank that was killed in it


def ended(pid: int) -> bool:
    """Whether a fork ends in time; it is killed if not."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:  # the tracer has seen it end
            return True
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def random_kills(folder: Path, *, times: int, seed: int = 0) -> dict[str, int]:
    """SIGKILL of a training that saves all the time, at random moments; each goes on where the one before stood."""
    draw, counts = random.Random(seed), Counter(tried=0, right=0, midway=0, steps=0)
    while counts["tried"] < times:
        before = newest(folder)
        pid = syscalls.forked(partial(training, folder, before + 1))
        time.sleep(draw.uniform(0.05, 0.4))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        counts["tried"] += 1
        counts["midway"] += any(folder.glob(".*.part"))
        found = newest(folder)
        counts["right"] += found >= before
        counts["steps"] += found - before
    return dict(counts)


def training(folder: Path, step: int) -> None:
    """Change the state in place, and begin to save it, as fast as it goes."""
    saver = checkpoint.Saver(folder, rule=checkpoint.Rule(keep=2))
    live = state(step)
    while True:
        for part, named in state(step).items():
            for name, value in named.items():
                live[part][name].copy_(value)
        saver.begin(live, **about(step))
        step += 1


def damaged(folder: Path, change: Callable[[Path, bytes], None], names: list[str]) -> dict[str, int]:
    """Let `change` damage the files `names` of step 2 one after the other: step 1 must be found each time."""
    counts: Counter[str] = Counter(tried=0, right=0)
    plain_save(folder, 1)
    plain_save(folder, 2)
    second = folder / "000000000020-00000002"
    for name in names:
        content = (second / name).read_bytes()
        change(second / name, content)
        counts["tried"] += 1
        counts["right"] += newest(folder) == 1
        if (second / name).is_dir():
            (second / name).rmdir()
        (second / name).unlink(missing_ok=True)
        (second / name).write_bytes(content)
    assert newest(folder) == 2
    return dict(counts)


def files() -> list[str]:
    """Of a checkpoint."""
    return [".metadata", "__0_0.distcp", "config.yaml", "manifest.json"]


def flips(folder: Path, *, times: int, seed: int = 0) -> dict[str, int]:
    """A random bit of a random file."""
    draw = random.Random(seed)

    def flip(path: Path, content: bytes) -> None:
        place = draw.randrange(8 * len(content))
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)

    return damaged(folder, flip, [draw.choice(files()) for _ in range(times)])


def cuts(folder: Path, *, lengths: int = 20) -> dict[str, int]:
    """Each file cut to so many lengths, from nothing to a byte less than all."""
    lasting = itertools.count()

    def cut(path: Path, content: bytes) -> None:
        path.write_bytes(content[: (len(content) - 1) * (next(lasting) % lengths) // (lengths - 1)])

    return damaged(folder, cut, [name for name in files() for _ in range(lengths)])


def deletions(folder: Path) -> dict[str, int]:
    """Each file deleted, and in its place nothing, a link that leads nowhere, a folder, or a pipe."""
    ways: list[Callable[[Path], object]] = [lambda path: None, lambda path: path.symlink_to("nowhere"), Path.mkdir]
    ways.append(os.mkfifo)
    lasting = itertools.cycle(ways)

    def change(path: Path, content: bytes) -> None:
        path.unlink()
        next(lasting)(path)

    return damaged(folder, change, [name for name in files() for _ in ways])


def size_limits(folder: Path, *, limits: int = 20) -> dict[str, int]:
    """A limit to the size of a file (RLIMIT_FSIZE), from nothing to almost enough."""
    counts: Counter[str] = Counter(tried=0, right=0)
    scene(folder, "new")
    largest = max(path.stat().st_size for path in next(folder.iterdir()).iterdir())
    for number in range(limits):
        end = os.waitpid(syscalls.forked(partial(limited, folder, (largest - 1) * number // limits)), 0)[1]
        counts["tried"] += 1
        counts["right"] += os.waitstatus_to_exitcode(end) == REFUSED and newest(folder) == 1
    return dict(counts)


def limited(folder: Path, size: int) -> None:
    """Save where no file may be larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    save(folder, 2)


def full_disks(folder: Path, *, times: int = 10) -> dict[str, int]:
    """A file system of 1 MB that is filled but for a part of what the next checkpoint takes. Nothing without root."""
    counts: Counter[str] = Counter(tried=0, right=0)
    folder.mkdir(parents=True, exist_ok=True)
    if LIBC.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=1m"):
        return dict(counts)
    try:
        inner = folder / "checkpoints"
        plain_save(inner, 1, kilobytes=80)
        taken = shutil.disk_usage(folder).used
        for number in range(times):
            (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - taken * number // times))
            pid = syscalls.forked(partial(save, inner, 2, kilobytes=80))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            counts["tried"] += 1
            counts["right"] += (code, newest(inner, kilobytes=80)) == (REFUSED, 1) and len(list(inner.iterdir())) == 1
            (folder / "filler").unlink()
        pid = syscalls.forked(partial(save, inner, 2, kilobytes=80))
        assert os.waitpid(pid, 0)[1] == 0
        assert newest(inner, kilobytes=80) == 2
    finally:
        LIBC.umount2(bytes(folder), 2)
    return dict(counts)


ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
