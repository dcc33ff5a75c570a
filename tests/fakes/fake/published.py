"""Tiny autoencoders of diffusers with random weights, one of each family, as `save_pretrained` writes them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "wan-2.1": (
        "AutoencoderKLWan",
        {
            "base_dim": 4,
            "z_dim": 4,
            "dim_mult": [1, 1, 2, 2],
            "num_res_blocks": 1,
            "latents_mean": [0.1, 0.2, -0.3, 0.4],
            "latents_std": [1.5, 2.0, 0.5, 1.0],
        },
    ),
    "wan-2.2": (
        "AutoencoderKLWan",
        {
            "base_dim": 4,
            "decoder_base_dim": 4,
            "z_dim": 6,
            "dim_mult": [1, 1, 2, 2],
            "num_res_blocks": 1,
            "is_residual": True,
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_spatial": 16,
            "latents_mean": [0.1, -0.2, 0.3, 0.0, 0.5, -0.6],
            "latents_std": [0.7, 0.8, 0.9, 1.0, 1.1, 1.2],
        },
    ),
    "ltx": (
        "AutoencoderKLLTXVideo",
        {
            "latent_channels": 8,
            "block_out_channels": [8] * 4,
            "decoder_block_out_channels": [8] * 4,
            "layers_per_block": [1] * 5,
            "decoder_layers_per_block": [1] * 5,
        },
    ),
    "ltx-0.9.1": (  # its decoder is told a noise level, and draws noise
        "AutoencoderKLLTXVideo",
        {
            "latent_channels": 8,
            "block_out_channels": [8] * 4,
            "decoder_block_out_channels": [16, 32, 64],
            "layers_per_block": [1] * 5,
            "decoder_layers_per_block": [1] * 4,
            "decoder_spatio_temporal_scaling": [True] * 3,
            "decoder_inject_noise": [True, True, True, False],
            "upsample_residual": [True] * 3,
            "upsample_factor": [2] * 3,
            "timestep_conditioning": True,
        },
    ),
    "ltx-2": (
        "AutoencoderKLLTX2Video",
        {
            "latent_channels": 8,
            "block_out_channels": [8, 16, 32, 64],
            "decoder_block_out_channels": [8, 16, 32],
            "layers_per_block": [1] * 5,
            "decoder_layers_per_block": [1] * 4,
            "spatial_compression_ratio": 32,
            "temporal_compression_ratio": 8,
        },
    ),
    "cogvideox": (
        "AutoencoderKLCogVideoX",
        {
            "block_out_channels": [8] * 4,
            "latent_channels": 4,
            "layers_per_block": 1,
            "norm_num_groups": 2,
            "sample_height": 64,
            "sample_width": 64,
        },
    ),
    "hunyuanvideo": (
        "AutoencoderKLHunyuanVideo",
        {"block_out_channels": [8] * 4, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2},
    ),
    "hunyuanvideo-1.5": (
        "AutoencoderKLHunyuanVideo15",
        {"block_out_channels": [8, 8, 16, 16, 16], "latent_channels": 4, "layers_per_block": 1},
    ),
    "mochi": (
        "AutoencoderKLMochi",
        {
            "encoder_block_out_channels": [32] * 4,
            "decoder_block_out_channels": [32] * 4,
            "layers_per_block": [1] * 5,
            "add_attention_block": [False] * 5,
            "latent_channels": 4,
            "latents_mean": [0.1, 0.2, -0.3, 0.0],
            "latents_std": [1.0, 2.0, 0.5, 0.7],
        },
    ),
    "dc-ae": (
        "AutoencoderDC",
        {
            "latent_channels": 4,
            "attention_head_dim": 4,
            "encoder_block_out_channels": [8] * 4,
            "decoder_block_out_channels": [8] * 4,
            "encoder_layers_per_block": [1] * 4,
            "decoder_layers_per_block": [1] * 4,
            "encoder_qkv_multiscales": [[], [], [], [5]],
            "decoder_qkv_multiscales": [[], [], [], [5]],
            "encoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"],
            "decoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"],
            "scaling_factor": 0.5,
        },
    ),
}


@cache
def made(family: str) -> Any:
    """The model of a family, the same each time."""
    import diffusers

    name, config = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(diffusers, name)(**config).eval().requires_grad_(requires_grad=False)


def saved(family: str, folder: Path) -> Path:
    """The folder with the model of a family in it."""
    made(family).save_pretrained(folder)
    return folder
