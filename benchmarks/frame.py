"""What the frame costs: imports, a config error, the way to the first step, an optimizer step, a checkpoint.

CPU seconds in one thread, of all processes of a command; they go to benchmarks/results/frame.json. Goals: `import
dit_video` at most 1.1 times `import torch`, the first step within 12 CPU-seconds, a config error within 4 s.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks import launch
from benchmarks.results import write
from dit_video import checkpoint, log
from dit_video.optim.adamw import AdamW
from dit_video.optim.muon import Muon

WIDTH, DEPTH, REPEATS = 256, 8, 5


def model() -> nn.Sequential:
    """Linear layers of a small transformer."""
    layers = [nn.Sequential(nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(3 * WIDTH, WIDTH)) for _ in range(DEPTH)]
    return nn.Sequential(*layers)


def cpu(call: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Median CPU seconds of a call."""
    times = []
    for _ in range(repeats):
        since = time.process_time()
        call()
        times.append(time.process_time() - since)
    return sorted(times)[len(times) // 2]


def children(*command: str, repeats: int = 3) -> float:
    """Median CPU seconds of a command."""
    times = []
    for _ in range(repeats):
        since = launch.children()
        subprocess.run([sys.executable, *command], capture_output=True, check=False)
        times.append(launch.children() - since)
    return sorted(times)[len(times) // 2]


def measure(folder: Path) -> dict[str, float]:
    """All figures, in CPU seconds; `folder` is for what they need."""
    net = model()
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    size = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    optimizers = {kind.__name__: kind(net.named_parameters(), lr=1e-3) for kind in (AdamW, Muon)}
    state = {"model": dict(net.state_dict()), "optimizer": checkpoint.optimizer_state([optimizers["Muon"]])}

    def save() -> Path:
        return checkpoint.save(folder / "saved", state, config="", fingerprint="", step=1, samples_seen=1)

    path = save()
    return {
        "import torch": children("-c", "import torch"),
        "import dit_video": children("-c", "import dit_video"),
        "a config error": children("train.py", "rnu.name=a"),
        **launch.first_steps(folder),
        **{f"{name} step, {size:.1f} M": cpu(item.step) for name, item in optimizers.items()},
        "checkpoint save": cpu(save),
        "checkpoint verify and load": cpu(lambda: checkpoint.load(path, state)),
    }


def main() -> None:
    """Say the figures and write them."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    for name, seconds in figures.items():
        log.say(f"{name:32s} {seconds:8.3f} CPU-s")
    write("frame", {name: round(seconds, 4) for name, seconds in figures.items()}, unit="CPU seconds")


if __name__ == "__main__":
    main()
