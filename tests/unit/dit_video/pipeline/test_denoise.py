"""Every way of sampling is windows: given frames stay, windows do not mix, seeds are keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.errors import RequestError
from dit_video.pipeline.denoise import Sampling, Window, denoise
from dit_video.pipeline.generate import Models

SAMPLING = Sampling(steps=3)


def made(models: Models, *windows: Window, sampling: Sampling = SAMPLING) -> list[Tensor]:
    return denoise(windows, dit=models.dit, text=models.text, sampling=sampling)


def windows() -> list[Window]:
    torch.manual_seed(0)
    return [
        Window(prompt="a red circle", latent=torch.zeros(4, 3, 2, 2), seed=1),
        Window(prompt="a blue square", latent=torch.randn(4, 3, 2, 3), seed=2, given=2),
        Window(prompt="a circle", latent=torch.zeros(4, 2, 2, 2), seed=3, tail=torch.randn(4, 2, 2, 2)),
    ]


def test_windows_together_are_windows_alone(models: Models) -> None:
    some = windows()
    for window, together in zip(some, made(models, *some), strict=True):
        assert together.shape == window.latent.shape
        assert_close(made(models, window)[0], together, atol=1e-4, rtol=1e-4)


def test_given_frames_come_back_as_they_were_and_are_seen(models: Models) -> None:
    window = windows()[1]
    (latent,) = made(models, window)
    assert torch.equal(latent[:, :2], window.latent[:, :2])
    other = replace(window, latent=torch.cat([window.latent[:, :2] + 1, window.latent[:, 2:]], dim=1))
    assert (made(models, other)[0][:, 2] - latent[:, 2]).abs().max() > 1e-3
    ignored = replace(window, latent=torch.cat([window.latent[:, :2], window.latent[:, 2:] + 9], dim=1))
    assert torch.equal(made(models, ignored)[0], latent)


def test_the_tail_is_seen(models: Models) -> None:
    window = windows()[2]
    assert window.tail is not None
    (latent,) = made(models, window)
    assert (made(models, replace(window, tail=window.tail + 1))[0] - latent).abs().max() > 1e-3


def test_the_seed_is_the_key(models: Models) -> None:
    window = windows()[0]
    assert torch.equal(made(models, window)[0], made(models, window)[0])
    assert not torch.allclose(made(models, window)[0], made(models, replace(window, seed=9))[0])


@pytest.mark.parametrize("change", [{"guidance": 4.0}, {"shift": 3.0}, {"solver": "heun"}, {"steps": 5}])
def test_every_setting_counts(models: Models, change: dict[str, float]) -> None:
    window = windows()[0]
    assert not torch.allclose(made(models, window, sampling=replace(SAMPLING, **change))[0], made(models, window)[0])


def test_a_lead_is_the_image_of_the_same_window(models: Models) -> None:
    free, given, tailed = windows()
    leading = replace(SAMPLING, lead=True)
    first, second, third = made(models, free, given, tailed, sampling=leading)
    (image,) = made(models, replace(free, latent=free.latent[:, :1]))
    assert_close(first[:, :1], image, atol=1e-4, rtol=1e-4)
    assert_close(second, made(models, given)[0], atol=1e-4, rtol=1e-4)
    assert_close(third, made(models, tailed)[0], atol=1e-4, rtol=1e-4)
    (again,) = made(models, replace(free, latent=torch.cat([image, free.latent[:, 1:]], dim=1), given=1))
    assert_close(again, first, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("setting", "value"), [("steps", 0), ("shift", 0.0), ("shift", float("inf")), ("guidance", float("nan"))]
)
def test_settings_that_make_nothing_are_said(setting: str, value: float) -> None:
    with pytest.raises(RequestError, match=rf"sampling\.{setting}={value} .*expected"):
        Sampling(**{setting: value})
