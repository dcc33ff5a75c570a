from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from datamodules.dataset import index, sidecars
from datamodules.dataset.filter import keep
from datamodules.files.shards import Shards
from datamodules.prepare.captions import write_sidecar
from datamodules.prepare.imagetext import load
from datamodules.prepare.score import Frames, load_head, rate, score
from dit_video.errors import ConfigError, DataError

CPU = torch.device("cpu")
PROMPTS = {"quality": ["good clip", "bad clip"], "good": "good"}


def scored(dataset: Path, model: Path, **about: Any) -> index.Index:
    score(dataset=str(dataset), model=str(model), device="cpu", workers=0, **about)
    return index.load(dataset)


def head_of(folder: Path) -> Path:
    """The LAION predictor's form: linear layers with nothing between them."""
    torch.manual_seed(1)
    sizes = [12, 6, 1]
    layers = {f"layers.{at}": torch.nn.Linear(sizes[at], sizes[at + 1]) for at in range(2)}
    save_file({f"{n}.{k}": v.detach() for n, m in layers.items() for k, v in m.named_parameters()}, folder / "head.st")
    return folder / "head.st"


def test_scores_are_means_over_frames(dataset: Path, tiny_clip: Path, tmp_path: Path) -> None:
    head = head_of(tmp_path)
    found = scored(dataset, tiny_clip, prompts=PROMPTS, head=str(head), frames=3, batch=5)
    clip = load(str(tiny_clip), device=CPU)
    reader = Frames(found=found, shards=Shards(), count=3, prepare=clip.prepare)
    columns = {name: sidecars.load_score(found, f"clip.{name}") for name in ("caption", "quality", "good", "rating")}
    good, pair = clip.texts(["good"]), clip.texts(["good clip", "bad clip"])
    for row in range(0, len(found), 4):
        images = reader.read(row)
        assert images.shape == (1 if found.image[row] else 3, 32, 32, 3)
        vectors = clip.pictures(images)
        wanted = {
            "caption": (vectors @ clip.texts([found.caption[row]])[0]).mean(),
            "good": (vectors @ good[0]).mean(),
            "quality": (vectors @ pair.T * clip.scale).softmax(1)[:, 0].mean(),
            "rating": rate(load_head(str(head), 12), vectors).mean(),
        }
        assert {name: float(columns[name][row]) for name in wanted} == pytest.approx(
            {name: float(value) for name, value in wanted.items()}, abs=1e-5
        )
    middle = float(np.median(columns["quality"]))
    kept = keep(found, {"clip": {"quality": [middle, None]}}).rows
    assert kept.tolist() == (columns["quality"] >= middle).tolist()


def test_frames_are_spread_over_the_clip(dataset: Path, tiny_clip: Path) -> None:
    from dit_video.media.read import read

    found, clip = index.load(dataset), load(str(tiny_clip), device=CPU)
    row = int(np.flatnonzero(found.frames == 20)[0])
    images = Frames(found=found, shards=Shards(), count=4, prepare=clip.prepare).read(row)
    data = Shards().read(
        found.tar(row), offset=int(found.offset[row]), size=int(found.size[row]), sha256=found.sha256[row]
    )
    whole = np.stack([clip.prepare.fit(image) for image in read(data).frames]).astype(float)
    nearest = [int(np.abs(whole - image).mean((1, 2, 3)).argmin()) for image in images.astype(float)]
    assert np.abs(np.asarray(nearest) - np.array([2.5, 7.5, 12.5, 17.5])).max() <= 1


def test_a_caption_that_is_missing_is_unknown(dataset: Path, tiny_clip: Path) -> None:
    found = index.load(dataset)
    first = np.flatnonzero(found.shard == 0)
    for shard in range(8):
        keys = [found.key[row] for row in first] if shard == 0 else []
        write_sidecar(dataset, "dense", shard=shard, keys=keys, texts=["one two"] * len(keys), model="test")
    scored(dataset, tiny_clip, captions="dense", frames=1)
    values = sidecars.load_score(found, "clip.caption")
    assert np.flatnonzero(~np.isnan(values)).tolist() == first.tolist()


def test_a_rerun_does_nothing_and_other_settings_need_another_name(dataset: Path, tiny_clip: Path) -> None:
    scored(dataset, tiny_clip, frames=1, part="0/2")
    paths = sorted((dataset / "scores" / "clip").glob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in paths}
    scored(dataset, tiny_clip, frames=1)
    assert len([*(dataset / "scores" / "clip").glob("*.parquet")]) == 8
    assert {path: path.stat().st_mtime_ns for path in paths} == before
    with pytest.raises(ConfigError, match=r"frames=2 was 1; choose another name=NAME"):
        scored(dataset, tiny_clip, frames=2)


def test_mistakes_are_one_line(dataset: Path, tiny_clip: Path, tmp_path: Path) -> None:
    for message, about in {
        "nothing to score": {"captions": None},
        "frames must be at least 1": {"frames": 0},
        "name=duplicates cannot name": {"name": "duplicates"},
        r"prompts\.a must be a text": {"prompts": {"a": [1]}},
        r"prompts\.rating cannot name": {"prompts": {"rating": "x"}},
        "cannot be read": {"head": str(tmp_path / "absent")},
    }.items():
        with pytest.raises(ConfigError, match=message):
            scored(dataset, tiny_clip, **about)
    with pytest.raises(DataError, match="no captions/absent"):
        scored(dataset, tiny_clip, captions="absent")
    save_file({"weight": torch.zeros(1, 7), "bias": torch.zeros(1)}, tmp_path / "small.st")
    with pytest.raises(ConfigError, match=r"layers of \[7\] to \[1\]; expected 12 to 1"):
        load_head(str(tmp_path / "small.st"), 12)
