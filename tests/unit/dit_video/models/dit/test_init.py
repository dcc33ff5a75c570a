"""A DiT starts as the identity with zero velocity, and its parameters carry their tags."""

from __future__ import annotations

import torch
from torch import nn

from dit_video.models.dit import DiT
from dit_video.ops.layout import conditioned, join


def tiny() -> DiT:
    return DiT(channels=2, patch=1, width=32, depth=2, heads=2, text_width=8)


def test_the_velocity_starts_at_zero_and_blocks_pass_tokens_on() -> None:
    dit = tiny()
    data, _, layout = join([conditioned(torch.randn(2, 3, 2, 2), tail=None, pattern="none", cut=0, patch=1)])
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for block in dit.blocks():
        block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    velocity = dit(data, torch.rand(3), layout, torch.randn(1, 4, 8))
    assert not velocity.any()
    assert len(seen) == 2
    assert all(torch.equal(before, after) for before, after in seen)


def test_matrices_within_blocks_are_for_muon_and_vectors_never_decay() -> None:
    dit = tiny()
    within = {id(p) for block in dit.layers for p in block.parameters()}
    for name, parameter in dit.named_parameters():
        assert parameter.no_decay == (parameter.ndim < 2 or name.endswith("attn.scale")), name
        assert parameter.matrix == (id(parameter) in within and parameter.ndim == 2), name
    for block in dit.layers:
        for linear in (block.attn.qkv, block.text.kv, block.mlp.up):
            assert linear.weight.shape[0] % linear.weight.parts == 0


def test_matrices_start_at_their_fan_in() -> None:
    torch.manual_seed(0)
    for name, module in tiny().named_modules():
        if isinstance(module, nn.Linear) and module.weight.any():
            assert 0.8 < module.weight.std() * module.in_features**0.5 < 1.2, name
