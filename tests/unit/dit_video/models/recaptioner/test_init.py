from __future__ import annotations

import torch

from dit_video.models.recaptioner import Recaptioner
from dit_video.seeds import generator


def tiny() -> Recaptioner:
    return Recaptioner(width=32, heads=4, vocabulary=300, slots=4, side=32)


def test_the_same_generator_gives_the_same_weights() -> None:
    one, two = tiny(), tiny()
    for model in (one, two):
        model.initialise(generator=generator(0, "init"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_a_model_built_on_meta_is_whole_after_it() -> None:
    with torch.device("meta"):
        model = tiny()
    model.to_empty(device="cpu")
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)
    model.initialise()
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_first_guesses_are_nearly_even() -> None:
    with torch.no_grad():
        logits = tiny()(torch.randn(2, 3, 5, 32, 32), torch.randint(3, 300, (2, 9)))
    assert 0.3 < logits.std() < 3.0
