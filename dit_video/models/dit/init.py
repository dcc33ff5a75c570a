"""How a DiT starts: matrices by fan-in, gates and output at zero, and which parameters are not for Muon or decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from dit_video.models.dit.dit import DiT


def initialise(dit: DiT) -> None:
    """Every block starts as the identity (adaLN-zero) and the velocity at zero; in place, all parameters."""
    for module in dit.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
            nn.init.ones_(module.weight)
    nn.init.zeros_(dit.lead)
    for block in dit.layers:
        nn.init.zeros_(block.text.out.weight)
        nn.init.ones_(block.attn.scale)
        block.reset_parameters()
    for module in (dit.modulation, dit.modulation_out, dit.patch_out):
        nn.init.zeros_(module.weight)
    tag(dit)


def tag(dit: DiT) -> None:
    """Mark vectors and the embeddings at the ends: `no_decay`, and `matrix = False` where Muon does not belong."""
    for parameter in dit.parameters():
        parameter.no_decay = parameter.ndim < 2
        parameter.matrix = False
    for block in dit.layers:
        for parameter in block.parameters():
            parameter.matrix = parameter.ndim == 2
        block.attn.scale.no_decay = True
        block.attn.qkv.weight.parts, block.text.kv.weight.parts, block.mlp.up.weight.parts = 3, 2, 2
