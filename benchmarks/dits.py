"""Video transformers of one width and depth, ours and those of `diffusers`, each behind one call: the loss of a batch.

All have width 384 and 12 blocks (6 heads of 64; Allegro 4 of 96), text of 64 words of that width, latents of 16
channels in patches of 2x2, and random weights. A clip has 4 x 16 x 16 tokens, or as many more frames as are asked for.
What a model needs beside latents, text and level (rotary positions, masks) is made before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn

from dit_video.models.dit import DiT
from dit_video.ops.layout import conditioned, join

WIDTH, DEPTH, HEADS, WORDS, CHANNELS, PATCH, SIDE = 384, 12, 6, 64, 16, 2, 32
HEAD = WIDTH // HEADS
ROWS = SIDE // PATCH


@dataclass(frozen=True, kw_only=True)
class Racer:
    """A model, `loss()` of its batch, and the blocks that it is compiled by."""

    model: nn.Module
    loss: Callable[[], Tensor]
    blocks: list[nn.Module] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`clips` latents (b, 16, t, 32, 32), text (b, 64, 384) and levels (b,) in [0, 1]."""

    clips: Tensor
    text: Tensor
    sigma: Tensor

    @property
    def frames(self) -> int:
        """Latent frames of each clip."""
        return self.clips.shape[2]

    @property
    def tokens(self) -> int:
        """Tokens of all clips."""
        return self.clips.shape[0] * self.frames * ROWS**2


def batch(*, clips: int, frames: int) -> Batch:
    """Random numbers, the same for every model."""
    source = torch.Generator().manual_seed(0)
    return Batch(
        clips=torch.randn(clips, CHANNELS, frames, SIDE, SIDE, generator=source),
        text=torch.randn(clips, WORDS, WIDTH, generator=source),
        sigma=torch.rand(clips, generator=source),
    )


def error(predicted: Tensor, given: Tensor) -> Tensor:
    """The same loss for all."""
    return (predicted - given).square().mean()


def ours(given: Batch) -> Racer:
    """The DiT of this project: the clips are packed, and every latent frame has its level."""
    model = DiT(channels=CHANNELS, patch=PATCH, width=WIDTH, depth=DEPTH, heads=HEADS, text_width=WIDTH)
    clips = [conditioned(clip, tail=None, pattern="none", cut=0, patch=PATCH) for clip in given.clips]
    data, _, layout = join(clips)
    sigma = given.sigma[layout.sample]
    return Racer(
        model=model, loss=lambda: error(model(data, sigma, layout, given.text), data), blocks=list(model.blocks())
    )


def wan(given: Batch) -> Racer:
    """Wan 2.1."""
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=HEAD,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=WIDTH,
        ffn_dim=4 * WIDTH,
        num_layers=DEPTH,
        rope_max_seq_len=64,
    )
    return Racer(
        model=model,
        loss=lambda: error(model(given.clips, given.sigma * 1000, given.text, return_dict=False)[0], given.clips),
        blocks=list(model.blocks),
    )


def ltx(given: Batch) -> Racer:
    """LTX-Video: it takes tokens."""
    from diffusers import LTXVideoTransformer3DModel

    inside = CHANNELS * PATCH**2
    model = LTXVideoTransformer3DModel(
        in_channels=inside,
        out_channels=inside,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD,
        cross_attention_dim=WIDTH,
        num_layers=DEPTH,
        caption_channels=WIDTH,
    )
    tokens = rearrange(given.clips, "b c t (h p) (w q) -> b (t h w) (c p q)", p=PATCH, q=PATCH)
    mask = torch.ones(given.text.shape[:2], dtype=torch.long)
    return Racer(
        model=model,
        loss=lambda: error(
            model(
                tokens,
                given.text,
                given.sigma[:, None] * 1000,
                mask,
                num_frames=given.frames,
                height=ROWS,
                width=ROWS,
                return_dict=False,
            )[0],
            tokens,
        ),
        blocks=list(model.transformer_blocks),
    )


def allegro(given: Batch) -> Racer:
    """Allegro."""
    from diffusers import AllegroTransformer3DModel
    from diffusers.models.embeddings import get_3d_rotary_pos_embed_allegro

    head = 96  # a multiple of 6
    model = AllegroTransformer3DModel(
        num_attention_heads=WIDTH // head,
        attention_head_dim=head,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=DEPTH,
        cross_attention_dim=WIDTH,
        caption_channels=WIDTH,
        sample_height=SIDE,
        sample_width=SIDE,
        sample_frames=given.frames,
    )
    *waves, t, h, w = get_3d_rotary_pos_embed_allegro(head, ((0, 0), (ROWS, ROWS)), (ROWS, ROWS), given.frames)
    places = torch.cartesian_prod(t.long(), h.long(), w.long()).T.reshape(3, 1, -1).contiguous()
    turn = tuple(waves), tuple(places)
    level = (given.sigma * 1000).long()
    return Racer(
        model=model,
        loss=lambda: error(
            model(given.clips, given.text, level, image_rotary_emb=turn, return_dict=False)[0], given.clips
        ),
        blocks=list(model.transformer_blocks),
    )


def cogvideox(given: Batch) -> Racer:
    """CogVideoX: text and video attend together."""
    from diffusers import CogVideoXTransformer3DModel
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    model = CogVideoXTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=HEAD,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        time_embed_dim=WIDTH // 6,
        text_embed_dim=WIDTH,
        num_layers=DEPTH,
        sample_width=SIDE,
        sample_height=SIDE,
        max_text_seq_length=WORDS,
        use_rotary_positional_embeddings=True,
    )
    turn = get_3d_rotary_pos_embed(HEAD, ((0, 0), (ROWS, ROWS)), (ROWS, ROWS), given.frames)
    video = given.clips.transpose(1, 2).contiguous()
    return Racer(
        model=model,
        loss=lambda: error(
            model(video, given.text, given.sigma * 1000, image_rotary_emb=turn, return_dict=False)[0], video
        ),
        blocks=list(model.transformer_blocks),
    )


def hunyuan(given: Batch) -> Racer:
    """HunyuanVideo: 4 blocks with weights of their own for text, and 8 without."""
    from diffusers import HunyuanVideoTransformer3DModel

    model = HunyuanVideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD,
        num_layers=DEPTH // 3,
        num_single_layers=DEPTH - DEPTH // 3,
        num_refiner_layers=1,
        guidance_embeds=False,
        text_embed_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        rope_axes_dim=(16, 24, 24),
    )
    mask, pooled = torch.ones(given.text.shape[:2], dtype=torch.long), given.text.mean(1)
    level = (given.sigma * 1000).long()
    return Racer(
        model=model,
        loss=lambda: error(model(given.clips, level, given.text, mask, pooled, return_dict=False)[0], given.clips),
        blocks=[*model.transformer_blocks, *model.single_transformer_blocks],
    )


def latte(given: Batch) -> Racer:
    """Latte: space and time attend in turns, so it sees fewer pairs than all others."""
    from diffusers import LatteTransformer3DModel

    model = LatteTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=HEAD,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=DEPTH // 2,
        cross_attention_dim=WIDTH,
        attention_bias=True,
        sample_size=SIDE,
        patch_size=PATCH,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=WIDTH,
        video_length=given.frames,
    )
    level = (given.sigma * 1000).long()
    return Racer(
        model=model,
        loss=lambda: error(model(given.clips, level, given.text, return_dict=False)[0], given.clips),
        blocks=[*model.transformer_blocks, *model.temporal_transformer_blocks],
    )


RACERS: dict[str, Callable[[Batch], Racer]] = {
    "ours": ours,
    "wan": wan,
    "ltx": ltx,
    "allegro": allegro,
    "cogvideox": cogvideox,
    "hunyuan": hunyuan,
    "latte": latte,
}


def moved(module: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters away from where they start, so that no product with a zero is left out."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=source) * 0.01)
            yield parameter
