"""Between latent clips and patch tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from einops import rearrange

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.shapes import LatentShape


def patchify(latent: Tensor, *, patch: int) -> Tensor:
    """Tokens (t*h*w, c*p*p) of a latent clip (c, t, h*p, w*p), time outermost."""
    return rearrange(latent, "c t (h p) (w q) -> (t h w) (c p q)", p=patch, q=patch)


def unpatchify(tokens: Tensor, *, shape: LatentShape, patch: int) -> Tensor:
    """The latent clip (c, t, h, w) of `shape` that `patchify` cut into tokens."""
    return rearrange(
        tokens,
        "(t h w) (c p q) -> c t (h p) (w q)",
        t=shape.frames,
        h=shape.height // patch,
        w=shape.width // patch,
        p=patch,
        q=patch,
    )
