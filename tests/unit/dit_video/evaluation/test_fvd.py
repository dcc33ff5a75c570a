"""The Fréchet distance of known Gaussians, and networks that lie in a file or folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dit_video.errors import CheckpointError
from dit_video.evaluation import fvd

CPU = torch.device("cpu")


class Detector(nn.Module):
    """Takes what StyleGAN-V's I3D takes: the mean of each colour, and its square."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert rescale and resize and return_features  # noqa: PT018 - TorchScript takes one
        mean = x.mean(dim=(2, 3, 4))
        return torch.cat([mean, mean * mean / 255], dim=1)


def test_a_set_is_at_no_distance_from_itself_in_any_order() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6))
    assert fvd.distance(rows, rows[::-1]) == pytest.approx(0.0, abs=1e-8)
    assert fvd.distance(rows[:3], rows[:3]) == pytest.approx(0.0, abs=1e-6)


def test_a_shift_counts_squared_and_a_stretch_by_its_deviation() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    assert fvd.distance(rows, rows + 2.0) == pytest.approx(16.0)
    centred = rows - rows.mean(0)
    assert fvd.distance(centred, 3 * centred) == pytest.approx(4 * np.cov(centred, rowvar=False).trace())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # it is how the published network comes
def test_a_script_s_features_are_those_of_the_first_frames(tmp_path: Path) -> None:
    torch.jit.script(Detector()).save(str(tmp_path / "i3d.pt"))
    features = fvd.Features(fvd.load(str(tmp_path / "i3d.pt"), device=CPU))
    for level in (10, 200):
        for number in range(fvd.FRAMES + 3):
            features.add(np.full((20, 30, 3), level if number < fvd.FRAMES else 0, np.uint8))
        features.close()
    for _ in range(3):  # too short
        features.add(np.zeros((20, 30, 3), np.uint8))
    features.close()
    assert np.stack(features.rows) == pytest.approx(np.array([[x] * 3 + [x * x / 255] * 3 for x in (10.0, 200.0)]))


def test_a_videomae_is_read_from_its_folder(tmp_path: Path) -> None:
    from transformers import VideoMAEConfig, VideoMAEModel

    config = VideoMAEConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, patch_size=112
    )
    VideoMAEModel(config).save_pretrained(tmp_path)
    network = fvd.load(str(tmp_path), device=CPU)
    video = torch.randint(0, 256, (1, 3, fvd.FRAMES, fvd.SIDE, fvd.SIDE)).float()
    with torch.inference_mode():
        assert network(video).shape == (1, 8)
        assert torch.equal(network(video), network(video))
        assert not torch.equal(network(video), network(255 - video))


def test_what_is_no_network_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"nothing")
    for path in (tmp_path / "a.pt", tmp_path, tmp_path / "nowhere.pt"):
        with pytest.raises(CheckpointError, match="neither a TorchScript"):
            fvd.load(str(path), device=CPU)
