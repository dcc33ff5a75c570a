"""Tasks of a few thousand parameters, as the commands make them."""

from __future__ import annotations

from functools import partial

import pytest

from dit_video.models.dit import DiT
from dit_video.models.recaptioner import Recaptioner
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.vae import VAE
from dit_video.optim.adamw import AdamW
from dit_video.tasks.dit import DiTTask
from dit_video.tasks.recaptioner import RecaptionerTask
from dit_video.tasks.vae import VAETask

OPTIM = partial(AdamW, lr=1e-3)


@pytest.fixture
def dit() -> DiTTask:
    text = partial(TextEncoder, vocabulary=300, length=8, width=16, depth=1, heads=2)
    return DiTTask(
        dit=partial(DiT, channels=3, patch=1, width=32, depth=2, heads=2, text_width=16), text=text, optim=OPTIM
    )


@pytest.fixture
def vae() -> VAETask:
    return VAETask(vae=partial(VAE, channels=4, widths=[8, 16], blocks=[1, 1], time=[2, 2], space=[4, 2]), optim=OPTIM)


@pytest.fixture
def recaptioner() -> RecaptionerTask:
    return RecaptionerTask(recaptioner=partial(Recaptioner, width=32, depth=1, heads=2), optim=OPTIM, length=12)
