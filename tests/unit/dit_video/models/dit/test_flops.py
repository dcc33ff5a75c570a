from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dit_video.models.dit import DiT
from dit_video.models.dit import flops as module
from dit_video.models.dit.flops import flops
from dit_video.ops.layout import clip_tokens, join

WORDS = 7
Size = tuple[int, int, int]


def counted(sizes: list[Size], *, backward: bool = False, **shape: Any) -> int:
    """FLOPs of a pack of latents (t, h, w) by torch's counter, on tensors without numbers."""
    with torch.device("meta"):
        dit = DiT(**shape)
    clips = [
        clip_tokens(
            torch.zeros(shape["channels"], t, h, w),
            times=torch.arange(t),
            given=torch.zeros(t, dtype=torch.bool),
            lead=torch.arange(t) == 0,
            patch=shape["patch"],
        )
        for t, h, w in sizes
    ]
    data, _, layout = join(clips)
    context = torch.zeros(len(sizes), WORDS, shape["text_width"], device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        velocity = dit(
            data.to("meta").requires_grad_(), torch.zeros(len(layout.given), device="meta"), layout.to("meta"), context
        )
        if backward:
            velocity.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("width", "depth", "heads", "patch", "channels", "text_width"),
    [(64, 2, 4, 2, 8, 48), (96, 3, 2, 1, 16, 96), (160, 1, 5, 1, 4, 32)],
)
@pytest.mark.parametrize("sizes", [[(1, 4, 4)], [(3, 4, 6), (1, 8, 8), (3, 4, 6)]])
def test_the_formula_is_the_count(
    width: int, depth: int, heads: int, patch: int, channels: int, text_width: int, sizes: list[Size]
) -> None:
    shape = {"channels": channels, "patch": patch, "width": width, "depth": depth, "heads": heads}
    clips = flops(
        tokens=np.array([t * h * w // patch**2 for t, h, w in sizes]),
        frames=np.array([t for t, _, _ in sizes]),
        width=width,
        depth=depth,
        words=WORDS,
        text_width=text_width,
        inside=channels * patch**2,
    )
    assert clips.dtype == np.int64
    assert clips.sum() == counted(sizes, text_width=text_width, **shape)


def test_a_number_is_a_number() -> None:
    given = {"width": 64, "depth": 2, "words": 7, "text_width": 48, "inside": 16}
    assert flops(tokens=24, frames=3, **given) == flops(tokens=np.array([24]), frames=np.array([3]), **given)[0]


def test_backward_is_two_forwards() -> None:
    shape = {"channels": 8, "patch": 1, "width": 64, "depth": 2, "heads": 4, "text_width": 64}
    whole, forward = counted([(3, 8, 8)], backward=True, **shape), counted([(3, 8, 8)], **shape)
    assert whole == pytest.approx(3 * forward, rel=0.01)  # the gradient of sigma is not asked for


def test_a_cost_needs_no_torch() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= {"__future__", "typing", "numpy", "numpy.typing"}
