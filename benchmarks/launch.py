"""What it costs from the command to the first training step of the `tiny` VAE and DiT, on a dataset made for it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from omegaconf import OmegaConf

TABLE = "metrics.csv"


def first_steps(folder: Path) -> dict[str, float]:
    """CPU seconds to the first row of metrics.csv, all processes of the command together."""
    raw, data, vae = folder / "raw", folder / "dataset", folder / "vae"
    run("-m", "datamodules.shapes", f"out={raw}", "videos=24", "images=8", "described=1.0")
    run("-m", "datamodules.prepare", "step=curate", f"source={raw}", f"dataset={data}")
    captions = f"captions_csv={raw}/described.csv"
    run("-m", "datamodules.prepare", "step=captions", f"dataset={data}", captions, "name=dense")
    short = (f"datamodules.dataset={data}", "run.samples=8", "optim.schedule.warmup=0")
    seconds = {"first step of the tiny VAE": to_first_step(vae, "experiment=quickstart/vae", *short)}
    about = OmegaConf.load("conf/experiment/quickstart/vae.yaml").datamodules
    shape = (f"sizes=[{','.join(about.sizes)}]", f"fps={about.fps}")
    run("-m", "datamodules.prepare", "step=encode", f"dataset={data}", f"vae={vae}", *shape)
    seconds["first step of the tiny DiT"] = to_first_step(folder / "dit", "experiment=quickstart/dit", *short)
    return seconds


def run(*command: str) -> None:
    """One command that must succeed."""
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def to_first_step(folder: Path, *overrides: str) -> float:
    """CPU seconds of `train.py` until its first step is written; of the whole run where there is no /proc."""
    before = children()
    process = subprocess.Popen([sys.executable, "train.py", *overrides, f"run.dir={folder}"], stdout=subprocess.DEVNULL)
    while process.poll() is None and not written(folder / TABLE):
        time.sleep(0.02)
    seconds = tree(process.pid)
    if process.wait():
        raise SystemExit(f"train.py {' '.join(overrides)} failed")
    return seconds or children() - before


def written(path: Path) -> bool:
    """Whether the table has a row."""
    return path.is_file() and path.read_text(encoding="utf-8").count("\n") > 1


def children() -> float:
    """CPU seconds of all commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tree(pid: int) -> float:
    """CPU seconds of a process and its descendants, those that have ended included; 0 where that cannot be known."""
    fields = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has just ended
            continue
        fields[int(path.parent.name)] = text.rpartition(")")[2].split()
    members = {pid} & set(fields)
    while more := {child for child, values in fields.items() if int(values[1]) in members} - members:
        members |= more
    ticks = sum(int(value) for member in members for value in fields[member][11:15])
    return ticks / os.sysconf("SC_CLK_TCK")
