"""LPIPS is that of torchmetrics, which is handed the same network in the place of torchvision's."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dit_video.errors import CheckpointError
from dit_video.evaluation import lpips


def alexnet(weights: object = None) -> nn.Module:
    """The convolutions of torchvision's AlexNet, random, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Module()
        made.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
    return made


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in alexnet().state_dict().items()}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_it_is_that_of_torchmetrics(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import lpips as theirs

    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    models.alexnet = alexnet  # type: ignore[attr-defined]
    package.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setattr(theirs, "_TORCHVISION_AVAILABLE", True)
    reference = theirs._LPIPS(net="alex", pnet_rand=True)
    first, second = torch.rand(2, 2, 3, 64, 70).mul(2).sub(1).unbind(0)
    torch.testing.assert_close(lpips.load(str(weights))(first, second), reference(first, second).flatten())


def test_equal_frames_are_at_no_distance_and_small_ones_have_none(weights: Path) -> None:
    net = lpips.load(str(weights))
    a, b = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert net.of_frames(a, a) == 0.0
    far = net.of_frames(a, b)
    assert far is not None
    assert far > 0
    assert far == net.of_frames(b, a)
    assert net.of_frames(a[:20], b[:20]) is None
    side = lpips.LEAST
    assert net.of_frames(a[:side, :side], b[:side, :side]) is not None


def test_a_pth_of_tensors_is_read_and_one_with_code_is_not(tmp_path: Path) -> None:
    torch.save(alexnet().state_dict(), tmp_path / "a.pth")
    assert lpips.load(str(tmp_path / "a.pth")).features["0"].weight.shape == (64, 3, 11, 11)
    torch.save({"x": Path}, tmp_path / "b.pth")
    for name in ("b.pth", "nowhere.pth", "nowhere.safetensors"):
        with pytest.raises(CheckpointError, match="is no AlexNet"):
            lpips.load(str(tmp_path / name))
