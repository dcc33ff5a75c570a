from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.callbacks import replay
from dit_video.callbacks.replay import Replay, read
from dit_video.ops.layout import conditioned, join

PLACE = Place(step=8, samples_seen=18, micro=0, micros=2, packs=((3, 7), (5, 1)), step_weight=2.5)


def clips() -> ClipBatch:
    video = torch.randn(2, 3, 5, 4, 4)
    return ClipBatch(video=video, weight=torch.ones(2), captions=("a", ""), keys=("x", "y"), fps=8.0, place=PLACE)


def packs() -> PackBatch:
    latent = torch.randn(4, 3, 2, 2)
    data, weight, layout = join([conditioned(latent, tail=None, pattern="prefix", cut=1, patch=1)] * 2)
    about: dict[str, Any] = {"captions": ("a", "b"), "keys": ("x", "y"), "sources": ("s", "s"), "place": PLACE}
    return PackBatch(data=data, weight=weight, pack=torch.zeros(len(data), dtype=torch.int64), layout=layout, **about)


def same(one: Any, other: Any) -> bool:
    """Whether two records hold the same bits."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if is_dataclass(one):
        alike = (same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
        return type(one) is type(other) and all(alike)
    return bool(one == other)


def written(folder: Path, *batches: ClipBatch | PackBatch, step: int = 9, keep: int = 3) -> Path:
    noted = Replay(folder, keep=keep)
    for batch in batches:
        noted.note(batch)
    path = noted.write(step=step, rank=1, about={"reason": "it is bad"}, losses=[0.5] * len(batches))
    assert path is not None
    return path


def test_a_step_comes_back_as_it_was(tmp_path: Path) -> None:
    batches = [clips(), packs(), replace(packs(), place=replace(PLACE, micro=1))]
    path = written(tmp_path / "replay", *batches)
    assert path.name == "000009-1.json"
    assert all(same(one, other) for one, other in zip(batches, read(path), strict=True))


def test_large_tensors_are_not_held_but_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST", clips().video.nbytes + 100)
    path = written(tmp_path, clips(), clips())
    assert len(read(path)) == 1
    assert path.read_text().count('"x"') == 2


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        written(tmp_path, clips(), step=step, keep=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{step:06d}-1.{kind}" for step in (4, 5) for kind in ("json", "safetensors")]


def test_a_disk_that_refuses_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    noted = Replay(tmp_path / "file", keep=1)
    noted.note(clips())
    assert noted.write(step=1, rank=0, about={}, losses=[0.0]) is None
