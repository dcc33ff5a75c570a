from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from datamodules.dataset import index, sidecars
from datamodules.latents import LatentData
from dit_video.batch import PackBatch
from dit_video.errors import ConfigError

MIXED = {"none": 1.0, "first": 1.0, "prefix": 1.0, "suffix": 1.0}


def data(dataset: Path, **changes: object) -> LatentData:
    given = {"dataset": str(dataset), "length": 300, "packs": 4, "micro": 2, "workers": 0, "conditions": MIXED}
    return LatentData(**{**given, **changes})


def batches(made: LatentData, *, step: int = 0, samples: int = 120, rank: int = 0, ranks: int = 1) -> list[PackBatch]:
    made.begin(step, samples, rank, ranks)
    return list(made.train_dataloader())


def same(first: list[PackBatch], second: list[PackBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.data, b.data)
        and torch.equal(a.layout.given, b.layout.given)
        and (a.keys, a.captions, a.sources, a.layout.lengths) == (b.keys, b.captions, b.sources, b.layout.lengths)
        and (a.place.step, a.place.samples_seen, a.place.packs) == (b.place.step, b.place.samples_seen, b.place.packs)
        for a, b in zip(first, second, strict=True)
    )


def test_a_micro_batch_is_whole(finished: Path) -> None:
    found = batches(data(finished))
    assert found[-1].place.samples_seen >= 120
    weights: Counter[int] = Counter()
    for batch in found:
        clips = len(batch.layout.lengths)
        assert batch.data.shape == (600, 3)
        assert sum(batch.layout.lengths) == 600 == len(batch.layout.frame)
        assert len(batch.keys) == len(batch.captions) == len(batch.sources) == clips
        assert batch.pack.tolist() == [0] * 300 + [1] * 300
        given = batch.layout.given[batch.layout.frame]
        assert (batch.weight[given] == 0).all()
        clip = batch.layout.sample[batch.layout.frame]
        assert torch.bincount(clip).tolist() == list(batch.layout.lengths)
        padded = torch.tensor([key == "" for key in batch.keys])[clip]
        assert (batch.weight[~given] == 1).all()
        assert given[padded].all()
        assert (batch.data[padded] == 0).all()
        weights[batch.place.step] += batch.weight.sum().item()
    assert {batch.place.step: batch.place.step_weight for batch in found} == weights


def test_tokens_are_the_latents(finished: Path) -> None:
    made = data(finished, conditions={"none": 1.0})
    batch = batches(made)[0]
    starts = torch.tensor([0, *batch.layout.lengths]).cumsum(0).tolist()
    for key, start, end in zip(batch.keys, starts[:-1], starts[1:], strict=True):
        if key:
            latent = load(made.shards.read_all([made.loader.member(made.index.key.index(key))])[0])["clip"]
            assert torch.equal(batch.data[start:end], latent.flatten(1).T)


def test_workers_and_ranks_change_nothing(finished: Path) -> None:
    alone = batches(data(finished, dropout=0.5))
    assert same(alone, batches(data(finished, dropout=0.5, workers=2)))
    halves = [batches(data(finished, dropout=0.5), rank=rank, ranks=2) for rank in range(2)]
    place = {batch.place.packs: at for at, batch in enumerate(alone)}
    assert same(alone, sorted([*halves[0], *halves[1]], key=lambda batch: place[batch.place.packs]))
    assert len(halves[0]) == len(halves[1])


def test_beginning_at_a_step_is_the_tail(finished: Path) -> None:
    alone = batches(data(finished))
    later = [batch for batch in alone if batch.place.step >= 3]
    assert later
    assert same(later, batches(data(finished), step=3))


def test_an_epoch_is_every_training_clip_once(finished: Path) -> None:
    made = data(finished, packs=1, micro=1, streams=1, window=1, lookahead=1)
    rows = len(made.chosen.rows)
    first = [key for batch in batches(made, samples=3 * rows) for key in batch.keys if key]
    for epoch in range(3):
        assert len(set(first[epoch * rows : (epoch + 1) * rows])) == rows


def test_every_pattern_occurs_and_suffixes_repeat_a_time(finished: Path) -> None:
    kinds = Counter()
    for batch in batches(data(finished), samples=400):
        for clip, key in enumerate(batch.keys):
            of_clip = batch.layout.sample == clip
            given, lead = batch.layout.given[of_clip], batch.layout.lead[of_clip]
            if key:
                kinds["suffix" if lead.sum() == 2 else f"{min(int(given.sum()), 2)} given"] += 1
                assert lead[0]
                assert not given.all()
    assert set(kinds) == {"suffix", "0 given", "1 given", "2 given"}


def test_damage_keeps_the_order_and_loses_its_weight(dataset: Path) -> None:
    whole = batches(data(dataset))
    latents = sidecars.load_latents(index.load(dataset), "vae")
    victim = whole[0].keys[0]
    row = index.load(dataset).key.index(victim)
    path = Path(index.load(dataset).tar(row, f"latents/{latents.name}"))
    content = bytearray(path.read_bytes())
    content[int(latents.places[row, 0]) + 3] ^= 255
    path.write_bytes(bytes(content))
    hurt = batches(data(dataset))
    assert [(batch.keys, batch.layout.lengths) for batch in hurt] == [(b.keys, b.layout.lengths) for b in whole]
    for batch, before in zip(hurt, whole, strict=True):
        bad = torch.tensor([key == victim for key in batch.keys])[batch.layout.sample[batch.layout.frame]]
        assert (batch.weight[bad] == 0).all()
        assert torch.equal(batch.weight[~bad], before.weight[~bad])
        assert batch.place.step_weight == before.place.step_weight


def test_mistakes(finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.length"):
        _ = data(finished, length=3).chosen
    assert data(finished).fingerprint != index.fingerprint_of({str(finished): 1.0})


def test_held_out_clips_come_in_packs_of_their_own_the_same_every_time(finished: Path) -> None:
    held, again = (data(finished, validation=0.3).validation(5) for _ in range(2))
    keys = [key for batch in held for key in batch.keys if key]
    trained = {key for batch in batches(data(finished, validation=0.3)) for key in batch.keys}
    assert len(set(keys)) == len(keys) == 5
    assert not trained & set(keys)
    assert [batch.place.packs for batch in held] == [((-1, number),) for number in range(len(held))]
    for one, other in zip(held, again, strict=True):
        assert torch.equal(one.data, other.data)
        assert one.captions == other.captions
        assert not one.layout.given[one.layout.frame[one.weight > 0]].any()
        assert int(one.weight.sum()) == one.place.step_weight
    assert data(finished, validation=0.0).validation(5) == []
