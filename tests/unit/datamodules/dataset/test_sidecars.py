from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.dataset import index, sidecars
from dit_video.errors import DataError


def test_rows_and_sidecars_line_up(finished: Path) -> None:
    found = index.load(finished)
    assert len(found) == 30
    assert int(found.image.sum()) == 4
    latents = sidecars.load_latents(found, "vae")
    assert ((latents.frames == 1) == found.image).all()
    assert latents.tail_counts.tolist() == [max(int(frames) - 1, 0) for frames in latents.frames]
    for row, count in enumerate(latents.tail_counts):
        assert latents.tails[row].tolist() == [*range(1, count + 1)] + [0] * (latents.tails.shape[1] - count)
    kinds = ["still" if image else "clip" for image in found.image]
    assert all(caption.startswith(kind) for caption, kind in zip(found.caption, kinds, strict=True))


def test_an_older_shard_of_a_sidecar_does_not_say_where_its_tensors_are(dataset: Path) -> None:
    sound = sidecars.load_latents(index.load(dataset), "vae")
    assert (sound.places[:, 0] > 0).all()
    path = dataset / "latents/vae/000002.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["part_offsets", "part_hashes"]), path)
    found = index.load(dataset)
    latents, older = sidecars.load_latents(found, "vae"), found.shard == 2
    assert not latents.places[older].any()
    assert not latents.hashes[older].any()
    assert (latents.places[~older] == sound.places[~older]).all()
    assert (latents.hashes[~older] == sound.hashes[~older]).all()
    assert latents.offset.tolist() == sound.offset.tolist()
    pq.write_table(pq.read_table(path).drop_columns(["size"]), path)
    with pytest.raises(DataError, match="other columns"):
        sidecars.load_latents(found, "vae")


def test_missing_parts_are_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="step=curate"):
        index.load(tmp_path)
    found = index.load(dataset)
    with pytest.raises(DataError, match="step=recaption"):
        sidecars.load_captions(found, "dense")
    with pytest.raises(DataError, match="step=encode"):
        sidecars.load_latents(found, "other")
    (dataset / "latents" / "vae" / "000000.parquet").unlink()
    with pytest.raises(DataError, match="lacks 1 shards"):
        sidecars.load_latents(found, "vae")
    (dataset / "index" / "000000.parquet").unlink()
    with pytest.raises(DataError, match=r"dataset\.json counts 30"):
        index.load(dataset)


@pytest.mark.parametrize("kind", ["captions", "scores"])
def test_a_sidecar_that_is_incomplete_or_of_another_dataset_is_refused(dataset: Path, kind: str) -> None:
    found = index.load(dataset)
    table = pa.table({"key": found.key.to_list(), "text": ["words"] * len(found), "score": np.arange(len(found))})

    def write(shard: int, fingerprint: str) -> None:
        path = dataset / kind / "made" / f"{shard:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = table.filter(found.shard == shard).replace_schema_metadata({"dataset_fingerprint": fingerprint})
        pq.write_table(mine, path)

    def load() -> list[object]:
        return list(
            sidecars.load_captions(found, "made") if kind == "captions" else sidecars.load_score(found, "made.score")
        )

    for shard in range(8):
        if shard:
            with pytest.raises(DataError, match=rf"{kind}/made lacks {8 - shard} of 8 shards"):
                load()
        write(shard, index.fingerprint_of({str(dataset): 1.0}))
    assert len({*load()}) == (1 if kind == "captions" else len(found))
    write(5, "other")
    with pytest.raises(DataError, match=rf"{kind}/made was made for another dataset"):
        load()


def test_latents_of_several_datasets_must_be_made_alike(dataset: Path, finished: Path) -> None:
    both = index.load([str(dataset), str(finished)])
    assert (sidecars.load_latents(both, "vae").frames > 0).all()
    path = dataset / "latents" / "vae" / "recipe.json"
    recipe = json.loads(path.read_text())
    path.write_text(json.dumps(recipe | {"fps": 6.0}))
    with pytest.raises(DataError, match=r"were encoded differently: fps is 12\.0 and 6\.0; encode one again"):
        sidecars.load_latents(both, "vae")
    path.write_text(json.dumps(recipe | {"dataset_fingerprint": "other"}))
    with pytest.raises(DataError, match="encoded from another dataset"):
        sidecars.load_latents(both, "vae")
