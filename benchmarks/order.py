"""What the order of data wastes and costs: padding, idle ranks, the plan of a million clips, and going on at a step.

    PYTHONPATH=. python benchmarks/order.py [DATASET [LENGTH]]

On the index of benchmarks/webcorpus.py, and on a dataset with latents where one is given (the shapes of the quickstart
say; LENGTH is that of its packs). Time is the cost model's: the exact FLOPs of a DiT of width 1536. Beside our packs
stand the ways of peers on the same samples: batches of four padded to the longest, batches of one bucket within a
budget of tokens, drawn by each rank for itself or for all ranks alike, and packs of equal tokens as they come. `useful`
is the share of the time of all ranks that goes into the FLOPs of clips; the ratio of two of them is that of tokens a
second. Goals: padding at most 1 %, waiting at most 3 % on 32 and 64 ranks, a plan within 60 s and 2 GB, going on at
step 100,000 within 30 s. They go to benchmarks/results/order.json.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import webcorpus
from benchmarks.results import write
from datamodules.latents import LatentData
from datamodules.order.steps import turns
from dit_video import log
from dit_video.models.dit.flops import flops

Figures = NDArray[np.float64]
RANKS = (32, 64)
PACKS = 64
WIDTH = 1536
STEPS = 2000  # of each way that is compared


@dataclass(frozen=True)
class Load:
    """What steps give to ranks, all (steps, ranks): tokens, tokens with the padding, FLOPs of the clips, FLOPs paid."""

    tokens: Figures
    slots: Figures
    useful: Figures
    paid: Figures

    def figures(self) -> dict[str, float]:
        """Shares of the tokens that are padding, of the time that ranks wait, and of it that goes into clips."""
        time = float(self.paid.max(1).sum()) * self.paid.shape[1]
        return {
            "padding": 1 - float(self.tokens.sum() / self.slots.sum()),
            "waiting": 1 - float(self.paid.sum()) / time,
            "useful": float(self.useful.sum()) / time,
        }


def cost(tokens: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """FLOPs of clips, but for a factor: those of one block without text, as the datamodule counts them."""
    sizes = {"width": WIDTH, "depth": 1, "words": 0, "text_width": 0, "inside": 0}
    return flops(tokens=tokens, frames=frames, **sizes).astype(np.float64)


@dataclass(frozen=True)
class Corpus:
    """Tokens, frames and FLOPs of the samples that take part."""

    tokens: NDArray[np.int64]
    frames: NDArray[np.int64]
    cost: NDArray[np.float64]


def corpus(data: LatentData) -> Corpus:
    """What a datamodule trains on."""
    rows = data.chosen.rows
    frames = data.latents.frames[rows]
    tokens = frames * data.frame_tokens[rows]
    return Corpus(tokens=tokens, frames=frames, cost=cost(tokens, frames))


def ours(data: LatentData, *, ranks: int, steps: int) -> Load:
    """Packs of a run, as its plan deals them; padding is computed like a clip."""
    parts: list[Load] = []
    for window in data.plan.windows():
        dealt = turns(count=PACKS // ranks, ranks=ranks)
        empty = (data.length - window.tokens).astype(np.int64)
        paid = window.cost + np.where(empty > 0, cost(empty, np.ones_like(empty)), 0)
        slots = np.full(window.tokens.shape, float(data.length))
        parts.append(Load(*(each[:, dealt].sum(-1) for each in (window.tokens, slots, window.cost, paid))))
        if sum(len(part.paid) for part in parts) >= steps:
            break
    names = ("tokens", "slots", "useful", "paid")
    return Load(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def padded(found: Corpus, rng: np.random.Generator, *, ranks: int, steps: int) -> Load:
    """A batch of four samples a rank, as they come, padded to the longest."""
    drawn = rng.integers(0, len(found.tokens), (steps, ranks, 4))
    longest = np.take_along_axis(drawn, found.tokens[drawn].argmax(-1)[..., None], -1)[..., 0]
    slots, paid = 4.0 * found.tokens[longest], 4 * found.cost[longest]
    return Load(found.tokens[drawn].sum(-1), slots, found.cost[drawn].sum(-1), paid)


def bucketed(found: Corpus, rng: np.random.Generator, *, ranks: int, steps: int, length: int, alike: bool) -> Load:
    """Batches of one bucket within `length` tokens; each rank draws its own bucket, or all have the same.

    A bucket is drawn as often as it has batches, so that every sample comes as often as any other.
    """
    count = np.maximum(length // found.tokens, 1)
    chance = (1 / count) / (1 / count).sum()
    first = rng.choice(len(found.tokens), (steps, 1 if alike else ranks), p=chance).repeat(ranks if alike else 1, 1)
    tokens, paid = (count[first] * column[first].astype(np.float64) for column in (found.tokens, found.cost))
    return Load(tokens, tokens, paid, paid)


def figures(data: LatentData, *, steps: int) -> dict[str, dict[str, float]]:
    """Every way on every number of ranks."""
    found = corpus(data)
    plain = like(data, window=1)
    rng = np.random.default_rng(0)
    sized = {"length": data.length, "steps": steps}
    ways: dict[str, Callable[[int], Load]] = {
        "packs, regrouped by cost (ours)": lambda ranks: ours(data, ranks=ranks, steps=steps),
        "packs of equal tokens as they come": lambda ranks: ours(plain, ranks=ranks, steps=steps),
        "one bucket a rank": lambda ranks: bucketed(found, rng, ranks=ranks, alike=False, **sized),
        "one bucket for all ranks": lambda ranks: bucketed(found, rng, ranks=ranks, alike=True, **sized),
        "batches of four, padded": lambda ranks: padded(found, rng, ranks=ranks, steps=steps),
    }
    made = {}
    for name, way in ways.items():
        for ranks in RANKS:
            shares = {key: round(value, 4) for key, value in way(ranks).figures().items()}
            made[f"{name}, {ranks} ranks"] = shares
            log.say(f"{name:36s} {ranks} ranks  " + "  ".join(f"{key} {value:.4f}" for key, value in shares.items()))
    return made


def made_of(dataset: str, *, length: int, patch: int, window: int = 32, lookahead: int = 64) -> LatentData:
    """The datamodule of a dataset with 64 packs a step."""
    about = {"length": length, "patch": patch, "packs": PACKS, "width": WIDTH, "validation": 0.0}
    return LatentData(dataset=dataset, window=window, lookahead=lookahead, **about)


def like(data: LatentData, *, length: int | None = None, window: int = 32, lookahead: int = 64) -> LatentData:
    """A datamodule of other settings over the same index."""
    chosen = {"length": length or data.length, "window": window, "lookahead": lookahead}
    other = made_of(next(iter(data.datasets)), patch=data.patch, **chosen)
    other.__dict__.update(index=data.index, latents=data.latents)
    return other


def scan(data: LatentData, *, steps: int) -> dict[str, float]:
    """Padding by length and look-ahead, and waiting on 64 ranks by window, around what `data` has."""
    found = {}
    for length in (65_536, 98_304, 131_072):
        for lookahead in (16, 64, 256):
            load = ours(like(data, length=length, lookahead=lookahead), ranks=64, steps=steps)
            found[f"padding, packs of {length}, look-ahead {lookahead}"] = load.figures()["padding"]
    for window in (1, 4, 8, 16, 32, 64):
        load = ours(like(data, window=window), ranks=64, steps=steps)
        found[f"waiting on 64 ranks, window {window}"] = load.figures()["waiting"]
    for name, value in found.items():
        log.say(f"{name:56s} {value:.4f}")
    return {name: round(value, 4) for name, value in found.items()}


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    since = time.perf_counter()
    call()
    return round(time.perf_counter() - since, 2)


def seconds(dataset: str) -> dict[str, float]:
    """How long the parts of a plan take, from the files on, and how much memory all of it."""
    data = made_of(dataset, length=webcorpus.LENGTH, patch=webcorpus.PATCH)
    found = {
        "reading the index, s": timed(lambda: (data.index, data.latents)),
        "choosing the samples, s": timed(lambda: data.chosen),
        "the first step, s": timed(lambda: next(data.plan.steps())),
        "an epoch of packs and steps, s": timed(lambda: epoch(data)),
        "going on at step 100,000, s": timed(lambda: next(data.plan.steps(100_000))),
        "peak memory, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    for name, value in found.items():
        log.say(f"{name:56s} {value:8.2f}")
    return found


def epoch(data: LatentData) -> None:
    """All windows of an epoch."""
    for window in data.plan.windows():
        if window.samples_seen[-1] >= len(data.chosen.rows):
            return


def main(arguments: list[str]) -> None:
    """Say the figures and write them."""
    with tempfile.TemporaryDirectory() as folder:
        web = Path(folder) / "web"
        webcorpus.write(web, 1_000_000)
        found: dict[str, object] = {"a million clips, seconds": seconds(str(web))}
        data = made_of(str(web), length=webcorpus.LENGTH, patch=webcorpus.PATCH)
        found["a million clips"] = figures(data, steps=STEPS)
        found["a million clips, settings"] = scan(data, steps=STEPS)
    if arguments:
        length = int(arguments[1]) if len(arguments) > 1 else 1024
        shapes = made_of(arguments[0], length=length, patch=1)
        found["shapes"] = figures(shapes, steps=min(STEPS, 500))
    write("order", found)


if __name__ == "__main__":
    main(sys.argv[1:])
