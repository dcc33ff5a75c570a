"""Imports point down: the layer table held against an `ast` of every file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The longest prefix of a module's name decides its layer.
LAYERS = {
    "train": 6,
    "sample": 6,
    "datamodules.prepare.__main__": 6,
    "datamodules.quickstart": 6,
    "datamodules": 5,
    "dit_video.tasks": 5,
    "dit_video.callbacks": 5,
    "dit_video.strategy": 5,
    "dit_video.start": 5,
    "dit_video.pipeline": 4,
    "dit_video.export": 4,
    "dit_video.evaluation.__main__": 6,
    "dit_video.evaluation.command": 6,
    "dit_video.evaluation": 4,
    "dit_video.page": 4,
    "dit_video.runs": 4,
    "dit_video.provenance": 4,
    "dit_video.safety": 4,
    "dit_video.media": 4,
    "dit_video.parallel": 3,
    "dit_video.optim": 3,
    "dit_video.checkpoint": 3,
    "dit_video.models": 2,
    "dit_video.ops": 1,
    "dit_video.flow": 1,
    "dit_video.sampler": 1,
    "dit_video": 0,
}
ZERO = {
    "__init__",
    "shapes",
    "batch",
    "errors",
    "log",
    "saves",
    "seeds",
    "signals",
    "config",
    "launch",
    "signature",
    "slurm",
    "whole",
}
# Who alone may import what.
ONLY = {
    "hydra": {"train", "sample", "datamodules.prepare.__main__"},
    "lightning": {"dit_video.tasks", "dit_video.callbacks", "dit_video.strategy", "datamodules"},
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def sources() -> list[Path]:
    found = [*(ROOT / "dit_video").rglob("*.py"), *(ROOT / "datamodules").rglob("*.py")]
    return [*found, *(path for path in (ROOT / "train.py", ROOT / "sample.py") if path.exists())]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer(module: str) -> int | None:
    parts = module.split(".")
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in LAYERS:
            return LAYERS[".".join(parts[:count])]
    return None


def imports(path: Path) -> set[str]:
    """Modules a file imports anywhere; `from a import b` counts as a.b where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                file = ROOT.joinpath(*inner.split("."))
                found.add(inner if file.is_dir() or file.with_suffix(".py").is_file() else str(node.module))
    return found


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    module = name_of(path)
    own = layer(module)
    assert own is not None
    assert own > 0 or module == "dit_video" or module.split(".")[1] in ZERO, f"{module} stands in no layer"
    for other in imports(path):
        theirs = layer(other)
        if theirs is not None:
            assert theirs <= own, f"{module} (layer {own}) imports {other} (layer {theirs})"
        within = module.startswith("dit_video.") and other.startswith("datamodules")
        across = module.startswith("datamodules") and other.startswith(("dit_video.tasks", "dit_video.callbacks"))
        assert not within or own == 6, f"{module} imports {other}: tasks and datamodules meet in dit_video.batch alone"
        assert not across or own == 6, f"{module} imports {other}: tasks and datamodules meet in dit_video.batch alone"
        top = other.split(".")[0]
        if top in ONLY:
            allowed = any(module == home or module.startswith(f"{home}.") for home in ONLY[top])
            assert allowed, f"{module} imports {top}"


@pytest.mark.parametrize("path", [p for p in sources() if "models" in p.parts], ids=name_of)
def test_models_know_no_distribution(path: Path) -> None:
    assert not {name for name in imports(path) if name.startswith(("torch.distributed", "lightning", "hydra"))}


def test_no_drawer_for_everything() -> None:
    assert not [path for path in sources() if path.stem in BANNED_NAMES]
