"""What the frame costs on this machine: a config error, an optimizer step, a checkpoint. CPU seconds, one thread."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

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


def children(*command: str) -> float:
    """CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    net = model()
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    size = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    optimizers = {kind.__name__: kind(net.named_parameters(), lr=1e-3) for kind in (AdamW, Muon)}
    with tempfile.TemporaryDirectory() as folder:
        state = {"model": dict(net.state_dict()), "optimizer": checkpoint.optimizer_state([optimizers["Muon"]])}

        def save() -> object:
            return checkpoint.save(Path(folder), state, config="", fingerprint="", step=1, samples_seen=1)

        path = checkpoint.save(Path(folder), state, config="", fingerprint="", step=1, samples_seen=1)
        rows = {
            "import torch": children("-c", "import torch"),
            "import dit_video": children("-c", "import dit_video"),
            "a config error": children("train.py", "rnu.name=a"),
            **{f"{name} step, {size:.1f} M": cpu(item.step) for name, item in optimizers.items()},
            "checkpoint save": cpu(save),
            "checkpoint verify and load": cpu(lambda: checkpoint.load(path, state)),
        }
    for name, seconds in rows.items():
        log.say(f"{name:32s} {seconds:8.3f} CPU-s")


if __name__ == "__main__":
    main()
