from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from datamodules.clips import ClipData
from datamodules.dataset import index
from dit_video.batch import ClipBatch
from dit_video.errors import ConfigError, DataError

SIZES = ["17x32x48", "17x48x32", "9x32x32", "1x32x48"]


def data(dataset: Path, **changes: object) -> ClipData:
    return ClipData(**{"dataset": str(dataset), "sizes": SIZES, "batch": 2, "packs": 4, "workers": 0, **changes})


def batches(made: ClipData, *, step: int = 0, samples: int = 64, rank: int = 0, ranks: int = 1) -> list[ClipBatch]:
    made.begin(step, samples, rank, ranks)
    return list(made.train_dataloader())


def same(first: list[ClipBatch], second: list[ClipBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.video, b.video)
        and (a.keys, a.captions, a.place.step, a.place.samples_seen, a.place.packs)
        == (b.keys, b.captions, b.place.step, b.place.samples_seen, b.place.packs)
        for a, b in zip(first, second, strict=True)
    )


def test_batches_are_of_one_bucket_and_in_range(finished: Path) -> None:
    found = batches(data(finished))
    assert len(found) == 32
    assert found[-1].place.samples_seen == 64
    assert {tuple(batch.video.shape[2:]) for batch in found} <= {(17, 32, 48), (17, 48, 32), (9, 32, 32), (1, 32, 48)}
    for batch in found:
        assert -1 <= batch.video.min() <= batch.video.max() <= 1
        assert batch.weight.tolist() == [1, 1]
        assert batch.place.step_weight == 8
        assert batch.place.micros == 4


def test_workers_and_ranks_change_nothing(finished: Path) -> None:
    alone = batches(data(finished))
    assert same(alone, batches(data(finished, workers=2)))
    halves = [batches(data(finished), rank=rank, ranks=2) for rank in range(2)]
    place = {batch.place.packs: at for at, batch in enumerate(alone)}
    assert same(alone, sorted([*halves[0], *halves[1]], key=lambda batch: place[batch.place.packs]))
    assert len(halves[0]) == len(halves[1])


def test_beginning_at_a_step_is_the_tail(finished: Path) -> None:
    alone = batches(data(finished))
    assert same(alone[4 * 5 :], batches(data(finished), step=5))


def test_an_epoch_is_every_training_clip_once(finished: Path) -> None:
    made = data(finished, batch=1, packs=1, streams=1, window=1)
    rows = len(made.chosen.rows)
    counts = Counter(key for batch in batches(made, samples=rows) for key in batch.keys)
    assert set(counts.values()) == {1}
    assert len(counts) == rows


def test_validation_is_held_out_and_fixed(finished: Path) -> None:
    made = data(finished, validation=0.3)
    held = made.validation(100)
    keys = {key for batch in held for key in batch.keys}
    assert keys
    assert not keys & {key for batch in batches(made, samples=200) for key in batch.keys}
    assert same(held, data(finished, validation=0.3).validation(100))
    assert sum(len(batch.keys) for batch in made.validation(3)) == 3


def test_images_may_be_left_out(finished: Path) -> None:
    made = data(finished, images=False, validation=0.0)
    assert not index.load(finished).image[made.chosen.rows].any()


def test_only_clips_with_the_caption_take_part(dataset: Path) -> None:
    from datamodules.prepare.captions import write_sidecar

    found = index.load(dataset)
    keys = found.key[:5]
    for shard in range(8):
        some = keys if shard == 0 else []
        write_sidecar(dataset, "full", shard=shard, keys=some, texts=[f"full {key}" for key in some], model="test")
    made = data(dataset, captions={"full": 1.0}, validation=0.0, batch=1, packs=1)
    assert {index.load(dataset).key[row] for row in made.chosen.rows} <= set(keys)
    assert all(batch.captions == (f"full {batch.keys[0]}",) for batch in batches(made, samples=5))


def test_damage_keeps_the_order_and_loses_its_weight(dataset: Path) -> None:
    whole = batches(data(dataset))
    found = index.load(dataset)
    victim = whole[3].keys[0]
    row = found.key.index(victim)
    path = dataset / "clips" / f"{found.shard[row]:06d}.tar"
    content = bytearray(path.read_bytes())
    content[int(found.offset[row]) + 50] ^= 255
    path.write_bytes(bytes(content))
    hurt = batches(data(dataset))
    assert [batch.keys for batch in hurt] == [batch.keys for batch in whole]
    for batch in hurt:
        for key, weight, video in zip(batch.keys, batch.weight, batch.video, strict=True):
            assert weight == (key != victim)
            assert (video == 0).all() == (key == victim)
    with pytest.raises(DataError, match="max_bad_fraction"):
        batches(data(dataset, max_bad_fraction=0.0))


def test_mistakes(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="step=curate"):
        data(tmp_path)
    with pytest.raises(ConfigError, match=r"datamodules\.packs"):
        data(finished).begin(0, 10, 0, 3)
    assert data(finished).fingerprint == json.loads((finished / "dataset.json").read_text())["fingerprint"]
