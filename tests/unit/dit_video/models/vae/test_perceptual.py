"""Distances by features: zero for equals, with gradients, of a network that lies on the disk."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from dit_video.errors import ConfigError
from dit_video.models.vae.perceptual import Dino, Lpips


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small DINOv2 with random weights, as its users have one."""
    transformers = pytest.importorskip("transformers", reason="the extra pretrained is not installed")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7
    )
    path = tmp_path_factory.mktemp("dino")
    transformers.Dinov2Model(config).save_pretrained(path)
    return str(path)


def test_equals_have_no_distance_and_clips_do_not_mix(folder: str) -> None:
    video, target = (torch.rand(2, 2, 3, 3, 16, 20) * 2 - 1).unbind(0)
    distance = Dino(path=folder, layers=[1, -1])
    assert_close(distance(video, video), torch.zeros(2), atol=1e-5, rtol=0)
    whole = distance(video, target)
    assert (whole > 0).all()
    assert_close(distance(video[1:], target[1:]), whole[1:], rtol=1e-4, atol=1e-6)


def test_pixels_have_gradients_and_the_network_has_none(folder: str) -> None:
    video = torch.rand(1, 3, 1, 14, 14).requires_grad_()
    distance = Dino(path=folder, weight=2.0)
    distance(video, torch.rand(1, 3, 1, 14, 14)).sum().backward()
    assert video.grad is not None
    assert video.grad.any()
    assert distance.net is not None
    assert not any(parameter.requires_grad for parameter in distance.net.parameters())


def test_some_frames_stand_for_all(folder: str) -> None:
    video, target = torch.rand(2, 1, 3, 6, 14, 14).unbind(0)
    each = [Dino(path=folder)(video[:, :, t : t + 1], target[:, :, t : t + 1]) for t in range(6)]
    some = Dino(path=folder, every=3)
    means = [sum(each[first::3]) / 2 for first in range(3)]
    for _ in range(4):
        found = some(video, target)
        assert any(torch.allclose(found, mean, rtol=1e-3, atol=1e-5) for mean in means)


def test_a_folder_without_a_network_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra pretrained is not installed")
    with pytest.raises(ConfigError, match="cannot be read"):
        Dino(path=str(tmp_path))(torch.rand(1, 3, 1, 14, 14), torch.rand(1, 3, 1, 14, 14))


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed, so LPIPS can be made")
def test_without_torchvision_lpips_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.loss\.perceptual=null"):
        Lpips()(torch.rand(1, 3, 1, 64, 64), torch.rand(1, 3, 1, 64, 64))


def test_of_sizes_alone_nothing_is_opened() -> None:
    video = torch.empty(2, 3, 1, 8, 8, device="meta")
    assert Dino(path="nowhere")(video, video).shape == (2,)
