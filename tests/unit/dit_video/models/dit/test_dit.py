"""A packed DiT is the DiT of each clip alone; levels are by frame; nothing depends on how clips are packed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.batch import Layout
from dit_video.models.dit import DiT
from dit_video.ops.layout import Clip, conditioned, join, padding
from dit_video.seeds import generator

TEXT = 16


def lively(**changes: int) -> DiT:
    """A tiny DiT whose zero-initialised gates and outputs have values."""
    sizes = {"channels": 2, "patch": 2, "width": 32, "depth": 2, "heads": 2, "text_width": TEXT} | changes
    dit = DiT(**sizes).eval()
    source = generator(0, "lively")
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=source))
    return dit


def clips() -> list[Clip]:
    """Clips of three sizes, two of them equal, one with a first frame and one with a tail given."""
    torch.manual_seed(0)
    return [
        conditioned(torch.randn(2, 3, 4, 6), tail=None, pattern="first", cut=1, patch=2),
        conditioned(torch.randn(2, 1, 4, 4), tail=None, pattern="none", cut=0, patch=2),
        conditioned(torch.randn(2, 3, 6, 4), tail=None, pattern="none", cut=0, patch=2),
        conditioned(torch.randn(2, 3, 4, 4), tail=torch.randn(2, 2, 4, 4), pattern="suffix", cut=2, patch=2),
    ]


def levels(clip: Clip) -> Tensor:
    return torch.linspace(0.2, 0.9, len(clip.given)) * ~clip.given


def run(dit: DiT, some: Sequence[Clip], texts: Sequence[Tensor]) -> list[Tensor]:
    """Velocities of each clip, from one pack."""
    data, _, layout = join(some)
    with torch.no_grad():
        velocity = dit(data, torch.cat([levels(clip) for clip in some]), layout, torch.stack(list(texts)))
    return list(velocity.split(layout.lengths))


def test_a_pack_is_each_clip_alone_in_any_order() -> None:
    dit, some = lively(), clips()
    texts = list(torch.randn(4, 5, TEXT))
    alone = [run(dit, [clip], [text])[0] for clip, text in zip(some, texts, strict=True)]
    assert min(velocity.std() for velocity in alone) > 0.1
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        together = run(dit, [some[at] for at in order], [texts[at] for at in order])
        for at, velocity in zip(order, together, strict=True):
            assert_close(velocity, alone[at], atol=1e-5, rtol=1e-4)


def test_what_pads_the_pack_does_not_matter() -> None:
    dit, some = lively(), clips()
    texts = list(torch.randn(5, 5, TEXT))
    pads = [padding(7, 8), padding(7, 8)]
    pads[1].data.fill_(100.0)
    texts_of = [texts, [*texts[:4], torch.full((5, TEXT), 9.0)]]
    one, two = (run(dit, [*some, pad], names) for pad, names in zip(pads, texts_of, strict=True))
    for a, b in zip(one[:4], two[:4], strict=True):
        assert_close(a, b)
    assert not torch.allclose(one[4], two[4])


def test_text_and_neighbours_within_the_clip_matter() -> None:
    dit, some = lively(), clips()
    texts = list(torch.randn(4, 5, TEXT))
    before = run(dit, some, texts)
    after = run(dit, some, [texts[0] + 1, *texts[1:]])
    assert (before[0] - after[0]).abs().max() > 0.01
    some[2].data[-1] += 1
    moved = run(dit, some, texts)
    assert (moved[2][0] - before[2][0]).abs().max() > 1e-3
    assert_close(moved[3], before[3])


def test_each_frame_has_its_own_level() -> None:
    dit = lively()
    _, _, layout = join(clips()[2:3])
    noisy, text = torch.randn(18, 8), torch.randn(1, 5, TEXT)
    with torch.no_grad():
        equal = dit(noisy, torch.full((3,), 0.4), layout, text)
        for frame in range(3):
            sigma = torch.full((3,), 0.4)
            sigma[frame] = 0.8
            assert (dit(noisy, sigma, layout, text) - equal).abs().max() > 1e-3


def one_level(dit: DiT, noisy: Tensor, sigma: float, layout: Layout, text: Tensor) -> Tensor:
    """The same clip with a single level for the whole of it: all its tokens are of one frame."""
    whole = Layout(
        position=layout.position,
        frame=torch.zeros_like(layout.frame),
        sample=torch.zeros(1, dtype=torch.int64),
        given=torch.zeros(1, dtype=torch.bool),
        lead=torch.zeros(1, dtype=torch.bool),
        extent=layout.extent,
        lengths=layout.lengths,
    )
    return dit(noisy, torch.tensor([sigma]), whole, text)


def test_equal_levels_by_frame_are_one_level() -> None:
    dit = lively()
    dit.lead.data.zero_()
    _, _, layout = join(clips()[2:3])
    noisy, text = torch.randn(18, 8), torch.randn(1, 5, TEXT)
    with torch.no_grad():
        assert_close(
            dit(noisy, torch.full((3,), 0.4), layout, text),
            one_level(dit, noisy, 0.4, layout, text),
            rtol=1e-5,
            atol=1e-5,
        )


def test_gradients_reach_every_parameter() -> None:
    dit = lively()
    data, _, layout = join(clips())
    dit(data, torch.rand(len(layout.sample)), layout, torch.randn(4, 5, TEXT)).square().sum().backward()
    assert [name for name, p in dit.named_parameters() if p.grad is None or not p.grad.any()] == []
