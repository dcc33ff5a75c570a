from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.dataset import index, sidecars
from datamodules.dataset.filter import keep
from datamodules.prepare.curate import curate
from datamodules.prepare.duplicates import duplicates
from dit_video.errors import ConfigError, DataError
from dit_video.media.write import write


def plant(dataset: Path, hashes: list[list[int]], contrast: list[float] | None = None) -> index.Index:
    """Write hashes (and contrast) of all rows into the dataset's index."""
    found, about = index.load(dataset), json.loads((dataset / "dataset.json").read_text())
    about.pop("index_sha256", None)
    (dataset / "dataset.json").write_text(json.dumps(about))
    for shard in range(about["shards"]):
        rows = np.flatnonzero(found.shard == shard)
        path = dataset / "index" / f"{shard:06d}.parquet"
        kept = pq.read_table(path)
        kept = kept.drop_columns([name for name in ("hashes", "contrast") if name in kept.column_names])
        columns = {
            "hashes": pa.array([hashes[row] for row in rows], pa.list_(pa.uint64())),
            "contrast": pa.array([contrast[row] if contrast else 0.2 for row in rows], pa.float64()),
        }
        for name, values in columns.items():
            kept = kept.append_column(name, values)
        pq.write_table(kept, path)
    return found


def distinct(found: index.Index) -> list[list[int]]:
    """Hashes that have nothing to do with each other, one of an image, three of a clip."""
    rng = np.random.default_rng(0)
    counts = np.where(found.image, 1, 3)
    return [rng.integers(0, 2**64, count, dtype=np.uint64).tolist() for count in counts]


def test_the_largest_then_the_longest_of_a_group_is_kept(dataset: Path) -> None:
    found = index.load(dataset)
    hashes, videos = distinct(found), np.flatnonzero(~found.image)
    area = found.height * found.width
    large = videos[area[videos] == area[videos].max()]
    long, short = large[np.argsort(-found.seconds[large], kind="stable")[[0, -1]]]
    small = videos[(area[videos] == area[videos].min()) & (found.shard[videos] != found.shard[long])][0]
    for copy, bits in ((small, 0b111), (short, 0b10000)):
        hashes[copy] = [value ^ bits for value in hashes[long]]
    plant(dataset, hashes)
    duplicates(dataset=str(dataset))
    copy, group, distance = (sidecars.load_score(found, f"duplicates.{name}") for name in ("copy", "group", "distance"))
    assert sorted(np.flatnonzero(copy)) == sorted([small, short])
    assert np.flatnonzero(group == 0).tolist() == sorted([small, short, long])
    assert (group >= 0).sum() == 3
    assert (distance[small], distance[short], np.isnan(distance).sum()) == (3, 1, len(found) - 2)
    assert sorted(np.flatnonzero(~keep(found, {"duplicates": {"copy": [None, 0]}}).rows)) == sorted([small, short])
    assert np.flatnonzero(~keep(found, {"duplicates": {"distance": [2, None]}}).rows).tolist() == [short]


def test_flat_pictures_are_no_group(dataset: Path) -> None:
    found = index.load(dataset)
    hashes, contrast = distinct(found), [0.2] * len(found)
    clips = np.flatnonzero(~found.image)
    for row in clips[:5]:
        hashes[row] = [0, 1, 1 << 40]
    for row in clips[5:10]:
        hashes[row], contrast[row] = hashes[clips[5]], 0.005
    plant(dataset, hashes, contrast)
    duplicates(dataset=str(dataset))
    assert not sidecars.load_score(found, "duplicates.copy").any()


def test_one_hash_is_less_evidence_than_three(dataset: Path) -> None:
    found = index.load(dataset)
    hashes = distinct(found)
    clips, images = np.flatnonzero(~found.image), np.flatnonzero(found.image)
    for rows in (clips, images):
        hashes[rows[1]] = [value ^ 0b1111111 for value in hashes[rows[0]]]
    plant(dataset, hashes)
    duplicates(dataset=str(dataset))
    copy = sidecars.load_score(found, "duplicates.copy")
    assert copy[clips].sum() == 1
    assert copy[images].sum() == 0
    duplicates(dataset=str(dataset), image_distance=7)
    assert sidecars.load_score(found, "duplicates.copy")[images].sum() == 1


def test_a_rerun_with_the_same_settings_does_nothing(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(dataset, distinct(index.load(dataset)))
    duplicates(dataset=str(dataset))
    path = dataset / "scores" / "duplicates" / "000003.parquet"
    before = path.stat().st_mtime_ns
    duplicates(dataset=str(dataset))
    assert path.stat().st_mtime_ns == before
    assert "known already" in capsys.readouterr().out
    path.unlink()
    duplicates(dataset=str(dataset))
    assert path.is_file()


def scene(seed: int) -> np.ndarray:
    """uint8 (20, 96, 128, 3): soft shapes that pass by, different ones for each seed."""
    noise = np.random.default_rng(seed).normal(size=(96, 200, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 9)
    wide = np.clip(128 + 45 * soft / soft.std(), 0, 255).astype(np.uint8)
    return np.stack([wide[:, at : at + 128] for at in range(20)])


COPIES = {
    "encoded": (lambda video: video, 36),
    "scaled": (lambda video: np.stack([cv2.resize(frame, (64, 48)) for frame in video]), 20),
    "brighter": (lambda video: np.clip(video * 1.1 + 10, 0, 255).astype(np.uint8), 20),
    "cropped": (lambda video: np.ascontiguousarray(video[:, 2:-2, 2:-2]), 20),
}


def test_copies_are_found_whatever_was_done_to_them_and_wherever_they_lie(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for seed in range(6):
        write(raw / f"{seed}_original.mp4", scene(seed), fps=12, crf=14, preset="ultrafast")
        for name, (change, crf) in COPIES.items():
            write(raw / f"{seed}_{name}.mp4", change(scene(seed)), fps=12, crf=crf, preset="ultrafast")
    for level in (0, 90, 91):
        write(raw / f"flat_{level}.mp4", np.full((20, 96, 128, 3), level, np.uint8), fps=12, preset="ultrafast")
    curate(source=str(raw), dataset=str(tmp_path / "made"), workers=0, fades=False, cut_threshold=255.0)
    duplicates(dataset=str(tmp_path / "made"))
    found = index.load(tmp_path / "made")
    assert len(set(found.shard.tolist())) > 1
    copy, group = sidecars.load_score(found, "duplicates.copy"), sidecars.load_score(found, "duplicates.group")
    kinds = {row: Path(source).stem.split("_") for row, source in enumerate(found.source.to_list())}
    for seed in range(6):
        mine = [row for row, (name, _) in kinds.items() if name == str(seed)]
        assert len({group[row] for row in mine}) == 1
        (kept,) = [row for row in mine if not copy[row]]
        assert found.height[kept] * found.width[kept] == 96 * 128
    assert len(set(group)) == 6 + 1
    assert all(group[row] == -1 for row, (name, _) in kinds.items() if name == "flat")


def test_mistakes(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="image_distance must be from 0 to 16 bits, got 17"):
        duplicates(dataset=str(dataset), image_distance=17)
    for path in (dataset / "index").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["hashes"]), path)
    about = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps({key: about[key] for key in about if key != "index_sha256"}))
    with pytest.raises(DataError, match="curated without hashes"):
        duplicates(dataset=str(dataset))
