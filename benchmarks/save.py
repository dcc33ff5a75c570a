"""What a checkpoint costs training, and what reading one takes of memory; to benchmarks/results/save.json.

- The stall of a save is all by which steps take longer for it: the copy, and what the thread that writes takes from the
  steps meanwhile. Steps are small products, about 50 ms together; with two processes they exchange a number at the end.
- Memory of a rank that reads its quarter of a state: how far its resident set rises above what stood before.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from benchmarks.results import write
from dit_video import checkpoint, log

STEP, SAVES = 0.05, 7  # seconds, and how often each is measured
PARTS = ("model", "ema", "optimizer.exp_avg", "optimizer.exp_avg_sq")
SIZES = {1: (4, 128), 10: (10, 256), 100: (25, 512)}  # megabytes: tensors of each part, and their width
LOADED, RANKS = (50, 1024), 4  # 50 tensors of 4 MB over 4 ranks


def state(count: int, width: int, value: float = 1.0) -> dict[str, dict[str, Tensor]]:
    """Square matrices under the names of a run."""
    return {part: {f"{n}.weight": torch.full((width, width), value) for n in range(count)} for part in PARTS}


def calibrated() -> tuple[Tensor, int]:
    """A matrix, and how often it is multiplied in `STEP` seconds."""
    matrix = torch.randn(96, 96)
    since = time.perf_counter()
    for _ in range(2000):
        matrix @ matrix
    return matrix, int(STEP / (time.perf_counter() - since) * 2000)


def step(matrix: Tensor, times: int) -> float:
    """Seconds of a step."""
    since = time.perf_counter()
    for _ in range(times):
        matrix @ matrix
    if dist.is_initialized():
        dist.all_reduce(torch.ones(1))
    return time.perf_counter() - since


def about(number: int) -> dict[str, Any]:
    """Where the checkpoint stands."""
    return {"config": "a: 1\n", "fingerprint": "f", "step": number, "samples_seen": number}


def stalls(folder: Path, megabytes: int) -> dict[str, float]:
    """Milliseconds of a step alone, of the copy, and of the stall by a save in the background and by one in between."""
    matrix, times = calibrated()
    tensors, saver = state(*SIZES[megabytes]), checkpoint.Saver(folder, rule=checkpoint.Rule(keep=1))
    found: dict[str, list[float]] = {"step": [], "copy": [], "asynchronous": [], "synchronous": []}
    for number in range(1, SAVES + 2):
        usual = median(step(matrix, times) for _ in range(15))
        since = time.perf_counter()
        pending = saver.begin(tensors, **about(number))
        copied, lost = time.perf_counter() - since, 0.0
        running = torch.ones(1)
        while running.item():
            lost += step(matrix, times) - usual
            running.fill_(not pending.done())
            if dist.is_initialized():
                dist.all_reduce(running)
        since = time.perf_counter()
        checkpoint.save(folder.with_name("between"), tensors, **about(number))
        waited = time.perf_counter() - since
        if number > 1:  # the first save makes the buffers
            for name, value in zip(found, (usual, copied, copied + lost, waited), strict=True):
                found[name].append(1000 * value)
    saver.close()
    return {name: median(values) for name, values in found.items()}


def loaded(folder: Path) -> dict[str, float]:
    """Megabytes that a rank holds of a state, and by which its memory rises at most while it reads that."""
    count, width = LOADED
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    live = {
        "model": {f"{n}.weight": distribute_tensor(torch.zeros(width, width), mesh, [Shard(0)]) for n in range(count)}
    }
    warm = {"model": {"0.weight": torch.zeros(width, width)}}
    checkpoint.load(checkpoint.save(folder / "warm", warm, **about(1)), warm)
    local = sum(value.to_local().nbytes for value in live["model"].values())
    found = checkpoint.latest(folder / "whole", together=True)
    assert found is not None
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    checkpoint.load(found, live, verified=True)
    right = all(bool((value.to_local() == 3).all()) for value in live["model"].values())
    assert right
    return {"held": local / 1e6, "rise": (resident("VmHWM") - before) / 1e6}


def resident(name: str) -> int:
    """Bytes of this process, now (VmRSS) or at most since it was asked (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def together(work: Any, processes: int) -> list[dict[str, float]]:
    """What a function finds in each of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(joined, args=(work, processes, folder), nprocs=processes)
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(processes)]


def joined(rank: int, work: Any, processes: int, folder: str) -> None:
    """In one of them."""
    torch.set_num_threads(1)
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    torch.save(work(Path(folder) / "checkpoints"), Path(folder) / f"{rank}.pt")
    if processes > 1:
        dist.destroy_process_group()


def costs() -> Iterator[tuple[str, dict[str, float]]]:
    """Stalls by the size of the state and the number of processes."""
    for processes in (1, 2):
        for megabytes in SIZES:
            found = together(partial(stalls, megabytes=megabytes), processes)[0]
            shares = {
                f"{kind}, share of a step": found[kind] / found["step"] for kind in ("asynchronous", "synchronous")
            }
            yield f"{megabytes} MB, {processes} process(es)", {f"{n}, ms": v for n, v in found.items()} | shares


def memory() -> dict[str, float]:
    """Of the rank whose memory rises most."""
    count, width = LOADED
    whole = {"model": {f"{n}.weight": torch.full((width, width), 3.0) for n in range(count)}}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder) / "whole", whole, **about(2))
        ranks = together(partial(loaded_from, folder), RANKS)
    worst = max(ranks, key=lambda rank: rank["rise"])
    return {"state, MB": 4 * count * width**2 / 1e6, "largest tensor, MB": 4 * width**2 / 1e6} | {
        "held by a rank, MB": worst["held"],
        "rise while reading, MB": worst["rise"],
    }


def loaded_from(source: str, folder: Path) -> dict[str, float]:
    """`loaded`, of a checkpoint that stands elsewhere."""
    del folder
    return loaded(Path(source))


def main() -> None:
    """Say the figures and write them."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    figures: dict[str, object] = {"load of the machine": os.getloadavg()[0]}
    for name, found in costs():
        figures[name] = {key: round(value, 3) for key, value in found.items()}
        log.say(f"{name}: {figures[name]}")
    read = {key: round(value, 1) for key, value in memory().items()}
    log.say(f"read by {RANKS} ranks: {read}")
    write("save", figures | {f"read by {RANKS} ranks what one wrote": read})


if __name__ == "__main__":
    main()
