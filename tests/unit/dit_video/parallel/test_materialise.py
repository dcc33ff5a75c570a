from __future__ import annotations

import torch
from torch import nn

from dit_video.models.dit import DiT
from dit_video.models.recaptioner import Recaptioner
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.vae import VAE
from dit_video.parallel.materialise import Keyed, materialise
from dit_video.parallel.tags import tags

CPU = torch.device("cpu")
MODELS = {
    "dit": lambda: DiT(channels=2, patch=2, width=32, depth=2, heads=4, text_width=8),
    "text": lambda: TextEncoder(vocabulary=300, length=4, width=16, depth=1, heads=2),
    "vae": lambda: VAE(channels=4, widths=[8, 8], blocks=[1, 1], time=[1, 2], space=[2, 2]),
    "recaptioner": lambda: Recaptioner(width=16, heads=2, vocabulary=300, slots=2),
}


def made(name: str, *, seed: int) -> nn.Module:
    """A model by way of `meta`."""
    with torch.device("meta"):
        model = MODELS[name]()
    for tensor in (*model.parameters(), *model.buffers()):
        assert tensor.is_meta
    materialise(model, device=CPU, seed=seed, purpose="init")
    return model


def test_nothing_is_left_without_a_value_and_tags_stay() -> None:
    for name, build in MODELS.items():
        torch.manual_seed(0)
        plain = build()
        first, again, other = made(name, seed=1), made(name, seed=1), made(name, seed=2)
        differ = 0
        for key, value in first.state_dict().items():
            assert torch.equal(value, again.state_dict()[key]), key
            wanted = plain.state_dict()[key].float()
            if wanted.numel() > 1000 and wanted.std() > 0:
                assert abs(float(value.float().std() / wanted.std()) - 1) < 0.1, f"{name} {key}"
            elif wanted.std() == 0:
                assert torch.equal(value.float(), wanted), f"{name} {key}"
            differ += not torch.equal(value, other.state_dict()[key])
        assert differ > 3
        assert tags(first) == tags(plain)


def test_random_fills_depend_on_nothing_random_elsewhere() -> None:
    with Keyed(0, "a"):
        first = torch.empty(5).normal_()
        second = torch.empty(5).normal_()
    torch.manual_seed(5)
    with Keyed(0, "a"):
        assert torch.equal(torch.empty(5).normal_(), first)
        assert torch.equal(nn.init.normal_(torch.empty(5)), second)
    with Keyed(1, "a"):
        assert not torch.equal(torch.empty(5).normal_(), first)
    assert not torch.equal(first, second)
