"""A training step (forward and backward) of the DiT beside those of `diffusers`' video transformers, on one thread.

    PYTHONPATH=. python benchmarks/step.py [peers=wan,ltx,...] [tokens=1024,4096] [rounds=4] [compiled=true]

Every model runs in a process of its own, in float32; they take turns, and figures are medians over rounds: tokens per
CPU-second (all threads of the process, so what else the machine does counts little), the share of the rate at which the
machine multiplies matrices in the same round, and the bytes of activations that wait for the backward (parameters
left out). 1024 tokens are two clips a batch, 4096 one. `compiled`: each block by torch.compile, with the CPU seconds
that it takes. Models are those of dits.py: equal width and depth, about equal parameters but for HunyuanVideo's.

Goals: at least 1.15 times Wan's and 1.05 times Allegro's tokens; ahead of all compiled, in at most 30 CPU-s to compile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import dits
from benchmarks.contest import Contestant
from benchmarks.results import write
from dit_video import log

SHAPES = {1024: (2, 4), 4096: (1, 16)}  # tokens of a clip: clips, latent frames
FULL = ("wan", "ltx", "allegro", "cogvideox", "hunyuan")  # whose attention sees all pairs, as ours does
SIDE = 1024  # of the matrices whose product is the machine's measure


def matmul() -> float:
    """FLOPs per CPU-second of a product of large matrices."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    since, count = time.process_time(), 0
    while time.process_time() - since < 0.5:
        a @ b
        count += 1
    return count * 2 * SIDE**3 / (time.process_time() - since)


def kept(loss: Callable[[], Tensor], model: torch.nn.Module) -> int:
    """Bytes that a forward keeps for its backward, each storage once, without parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = loss()
    del held
    return sum(found.values())


def serve(name: str, tokens: int, *, compiled: bool) -> None:
    """Be a contestant: `about` tells parameters, bytes and FLOPs; `step` CPU seconds of one and the machine's rate."""
    clips, frames = SHAPES[tokens]
    racer = dits.RACERS[name](dits.batch(clips=clips, frames=frames))
    parameters = sum(parameter.numel() for parameter in dits.moved(racer.model))
    out, sys.stdout = sys.stdout, sys.stderr
    first = 0.0
    about = ""
    if compiled:
        for block in racer.blocks:
            block.compile()
    else:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            racer.loss().backward()
        about = f"{kept(racer.loss, racer.model)} {counter.get_total_flops()}"
    for _ in range(2):
        since = time.process_time()
        racer.loss().backward()
        first = first or time.process_time() - since
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        if line.strip() == "about":
            told = f"{parameters} {first} {about}"
        else:
            rate = matmul()
            racer.model.zero_grad(set_to_none=False)
            since = time.process_time()
            racer.loss().backward()
            told = f"{time.process_time() - since} {rate}"
        out.write(told + "\n")
        out.flush()


def race(names: list[str], tokens: int, *, compiled: bool, rounds: int) -> dict[str, dict[str, float]]:
    """The figures of each model that runs here."""
    told: dict[str, dict[str, float]] = {}
    racing = {
        name: Contestant(sys.executable, "benchmarks/step.py", "contestant", name, str(tokens), str(compiled))
        for name in names
    }
    try:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name, item in racing.items() if item.ready}
        for turn in range(rounds):
            for name in [*times][turn % len(times) :] + [*times][: turn % len(times)]:
                seconds, rate = map(float, racing[name].ask("step"))
                times[name].append((seconds, rate))
        clips, frames = SHAPES[tokens]
        count = clips * frames * dits.ROWS**2
        for name, rows in times.items():
            parameters, first, *about = racing[name].ask("about")
            seconds = median(row[0] for row in rows)
            found = {"tokens per CPU-s": round(count / seconds, 1), "parameters": int(parameters)}
            if compiled:
                found["CPU-s to compile"] = round(float(first) - seconds, 1)
            else:
                bytes_kept, flops = map(int, about)
                shares = [flops / took / rate for took, rate in rows]
                found |= {
                    "activations MiB": round(bytes_kept / 2**20),
                    "GFLOP": round(flops / 1e9),
                    "share of matmul": round(median(shares), 3),
                }
            told[name] = found
    finally:
        for contestant in racing.values():
            contestant.end()
    for name in names:
        log.say(f"{tokens} tokens{', compiled' if compiled else ''}: {name}: {told.get(name, 'does not run here')}")
    return told


def rated(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Our tokens per CPU-second over each peer's."""
    own = found["ours"]["tokens per CPU-s"]
    return {name: round(own / row["tokens per CPU-s"], 3) for name, row in found.items() if name != "ours"}


def main(arguments: list[str]) -> None:
    """Be a contestant, or measure."""
    torch.set_num_threads(1)
    if arguments and arguments[0] == "contestant":
        serve(arguments[1], int(arguments[2]), compiled=arguments[3] == "True")
        return
    settings = dict(item.split("=", 1) for item in arguments)
    names = [
        "ours",
        *(settings["peers"].split(",") if "peers" in settings else [n for n in dits.RACERS if n != "ours"]),
    ]
    rounds, figures = int(settings.get("rounds", "4")), {}
    for tokens in map(int, settings.get("tokens", "1024,4096").split(",")):
        for compiled in (False, True) if settings.get("compiled", "true") == "true" else (False,):
            found = race(names, tokens, compiled=compiled, rounds=rounds)
            figures[f"{tokens} tokens, {'compiled' if compiled else 'eager'}"] = found | {"ours over": rated(found)}
    write("step", figures | headline(figures))


def headline(figures: dict[str, Any]) -> dict[str, Any]:
    """What the README quotes, at the smallest number of tokens measured."""
    (eager, *_), compiled = [[v for k, v in figures.items() if k.endswith(w)] for w in ("eager", "compiled")]
    full = {name: ratio for name, ratio in eager["ours over"].items() if name in FULL}
    best = min(full, key=lambda name: full[name])
    told = {"best_peer": best, "ratio_eager": full[best], "share_of_matmul": eager["ours"]["share of matmul"]}
    if compiled:
        told["ratio_compiled"] = min(ratio for name, ratio in compiled[0]["ours over"].items() if name in FULL)
    return told


if __name__ == "__main__":
    main(sys.argv[1:])
