"""What a VAE gives back is measured on held-out clips: perfect for one that loses nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datamodules.quickstart import reconstruct as command
from dit_video.media.read import read

VIDEOS = {"a": torch.rand(3, 5, 16, 16) * 2 - 1, "b": torch.rand(3, 1, 16, 16) * 2 - 1, "c": torch.zeros(3, 5, 16, 16)}


class Held:
    """A datamodule with three clips held out."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def validation(self, clips: int) -> list[Any]:
        assert clips == 3
        assert self.settings == {"dataset": "some", "workers": 0, "side": 16}
        return [SimpleNamespace(keys=(key,), video=video[None], fps=8.0) for key, video in VIDEOS.items()]


def test_pairs_are_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = SimpleNamespace(encode=lambda video: video, decode=lambda latent: latent * 0.5)
    index = SimpleNamespace(key=list(VIDEOS), source=[f"{key}.mp4" for key in VIDEOS])
    monkeypatch.setattr(command, "ClipData", Held)
    monkeypatch.setattr(command, "load_vae", lambda path: half)
    monkeypatch.setattr(command.index, "load", lambda path: index)
    command.reconstruct(dataset="some", vae="run", out=str(tmp_path), clips=3, shown=1, data={"side": 16})
    rows = {row["key"]: row for row in json.loads((tmp_path / "vae.json").read_text(encoding="utf-8"))}
    assert [row["frames"] for row in rows.values()] == [5, 1, 5]
    assert rows["a"]["source"] == "a.mp4"
    assert rows["c"]["psnr_db"] == 99.0
    assert abs(rows["a"]["psnr_db"] - 16.8) < 1.0  # of an error of half a uniform value
    assert [key for key, row in rows.items() if "original" in row] == ["a"]
    for name in ("original", "reconstruction"):
        assert read(tmp_path / rows["a"][name]).frames.shape == (5, 16, 16, 3)
