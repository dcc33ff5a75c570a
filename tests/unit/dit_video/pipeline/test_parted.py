"""A model parted over processes answers as the whole one, whatever the number of tokens."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.testing import assert_close

from dit_video.models.dit import DiT
from dit_video.ops.layout import conditioned, join
from dit_video.parallel.sequence import part_attention
from dit_video.pipeline.parted import Parted

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks


def compare(rank: int) -> None:
    del rank
    torch.manual_seed(0)
    whole = DiT(channels=4, patch=1, width=16, depth=2, heads=2, text_width=8).double()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    group = dist.group.WORLD
    assert group is not None
    for shapes in ([(2, 2, 3)], [(3, 3, 3), (1, 1, 2)]):
        clips = [conditioned(torch.randn(4, *s), tail=None, pattern="first", cut=1, patch=1) for s in shapes]
        data, _, layout = join(clips)
        sigma, context = torch.rand(len(layout.sample)).double(), torch.randn(len(clips), 5, 8).double()
        expected = whole(data.double(), sigma, layout, context)
        part_attention(whole, group)
        found = Parted(whole, group)(data.double(), sigma, layout, context)
        for module in whole.modules():
            if hasattr(module, "attend"):
                module.attend = module.attend.attend
        assert found.shape == expected.shape
        assert_close(found, expected)


def test_it_answers_as_the_whole() -> None:
    run_ranks(compare, 2)
