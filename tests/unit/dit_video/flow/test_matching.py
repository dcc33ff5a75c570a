"""The objective: noise keyed by pack wherever the pack stands; the loss is a weighted mean over the global step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.testing import assert_close

from dit_video.batch import PackBatch, Place
from dit_video.flow.levels import Levels
from dit_video.flow.matching import BINS, corrupt, matching_loss
from dit_video.flow.path import velocity_to_data
from dit_video.ops.layout import Clip, conditioned, join, padding

LEVELS = Levels(independent=0.5)


def clips_of(pack: int) -> list[Clip]:
    """Three clips of sizes that depend on the pack; one has a given frame, one is padding."""
    torch.manual_seed(pack)
    return [
        conditioned(torch.randn(2, 3 + pack, 2, 2), tail=None, pattern="first", cut=1, patch=1),
        conditioned(torch.randn(2, 1, 2, 3 + pack), tail=None, pattern="none", cut=0, patch=1),
        padding(3, 2),
    ]


def batch_of(packs: Sequence[int], *, step_weight: float = 1.0, weighted: bool = True) -> PackBatch:
    clips = [clip for pack in packs for clip in clips_of(pack)]
    data, weight, layout = join(clips)
    sizes = [sum(len(clip.frame) for clip in clips_of(pack)) for pack in packs]
    names = tuple(map(str, range(len(clips))))
    keys = tuple((0, pack) for pack in packs)
    return PackBatch(
        data=data,
        weight=weight if weighted else torch.ones_like(weight),
        pack=torch.arange(len(packs)).repeat_interleave(torch.tensor(sizes)),
        layout=layout,
        captions=names,
        keys=names,
        sources=names,
        place=Place(step=0, samples_seen=3, micro=0, micros=1, packs=keys, step_weight=step_weight),
    )


def test_the_noise_of_a_pack_is_the_same_wherever_it_stands() -> None:
    alone = {pack: corrupt(batch_of([pack]), levels=LEVELS, seed=5) for pack in (0, 1, 2)}
    for order in ([0, 1, 2], [2, 0, 1]):
        together = corrupt(batch_of(order), levels=LEVELS, seed=5)
        for part in range(3):
            assert torch.equal(together[part], torch.cat([alone[pack][part] for pack in order]))


def test_seeds_and_packs_have_noise_of_their_own() -> None:
    one, two = (corrupt(batch_of([0]), levels=LEVELS, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.noisy, two.noisy)
    assert not torch.equal(one.sigma, two.sigma)


def test_given_frames_are_clean_and_the_velocity_leads_back_to_the_data() -> None:
    batch = batch_of([0, 1])
    noisy, velocity, sigma = corrupt(batch, levels=LEVELS, seed=0)
    given = batch.layout.given[batch.layout.frame]
    assert torch.equal(noisy[given], batch.data[given])
    assert (noisy[~given] != batch.data[~given]).all()
    assert_close(velocity_to_data(velocity, noisy, sigma[batch.layout.frame]), batch.data)


def test_equal_weights_make_a_plain_mean() -> None:
    batch = batch_of([0, 1], weighted=False)
    count = len(batch.weight)
    batch = batch_of([0, 1], weighted=False, step_weight=count)
    sigma = torch.rand(len(batch.layout.sample))
    predicted, target = torch.randn(2, count, 2).unbind(0)
    loss, parts = matching_loss(predicted, target, sigma, batch)
    assert_close(loss, torch.nn.functional.mse_loss(predicted, target))
    assert_close(parts["loss"], loss)


def test_parts_add_up_to_the_whole() -> None:
    batch = batch_of([0, 1])
    batch = batch_of([0, 1], step_weight=float(batch.weight.sum()))
    sigma = torch.rand(len(batch.layout.sample))
    sigma[-1] = 1.0
    predicted = torch.randn_like(batch.data)
    loss, parts = matching_loss(predicted, torch.zeros_like(predicted), sigma, batch)
    assert_close(sum(parts[f"loss_sigma{n}"] for n in range(BINS)), loss)
    assert_close(sum(parts[f"share_sigma{n}"] for n in range(BINS)), torch.tensor(1.0))
    images = 2 * 3 + 2 * 4  # tokens of the clips with one frame; padding weighs nothing
    assert_close(parts["share_image"], torch.tensor(images / float(batch.weight.sum())))


def test_errors_of_given_and_padded_tokens_cost_nothing() -> None:
    batch = batch_of([0])
    wrong = (batch.weight == 0).float()[:, None].expand(-1, 2)
    loss, _ = matching_loss(wrong, torch.zeros_like(wrong), torch.rand(len(batch.layout.sample)), batch)
    assert wrong.any()
    assert loss == 0
