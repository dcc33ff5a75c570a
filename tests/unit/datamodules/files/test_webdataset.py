"""`webdataset` alone reads our shards: split over nodes and workers, and decoded."""

from __future__ import annotations

import gc
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from datamodules.dataset import index
from dit_video.media.image import read_image

pytestmark = pytest.mark.filterwarnings(  # 1.0.2 leaves the shards it has read open
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def read(finished: Path) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """All samples, decoded or not, by webdataset with shards split over nodes."""
    import webdataset

    urls = [str(path) for path in sorted((finished / "clips").glob("*.tar"))]

    def samples(*, decode: bool = False, workers: int = 0) -> list[dict[str, Any]]:
        made = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False, nodesplitter=webdataset.split_by_node)
        if decode:
            made = made.decode(
                webdataset.handle_extension("mp4", frames), webdataset.handle_extension("jpg png", read_image)
            )
        return list(webdataset.WebLoader(made, batch_size=None, num_workers=workers))

    yield samples
    gc.collect()


def frames(data: bytes) -> int:
    with av.open(io.BytesIO(data)) as file:
        return sum(1 for _ in file.decode(video=0))


def test_its_samples_are_those_of_the_index(finished: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    found = index.load(finished)
    seen = {sample["__key__"]: sample for sample in read()}
    assert sorted(seen) == sorted(found.key)
    for row, (key, suffix, sha256) in enumerate(zip(found.key, found.suffix, found.sha256, strict=True)):
        assert hashlib.sha256(seen[key][suffix]).hexdigest() == sha256, f"row {row}"


def test_it_decodes_videos_images_and_json(finished: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    found = index.load(finished)
    seen = {sample["__key__"]: sample for sample in read(decode=True)}
    for row, key in enumerate(found.key):
        media = seen[key][found.suffix[row]]
        assert seen[key]["json"]["source"] == found.source[row]
        if found.image[row]:
            assert media.shape == (found.height[row], found.width[row], 3)
        else:
            assert media == found.frames[row]


@pytest.mark.parametrize("workers", [0, 2])
def test_nodes_and_workers_share_the_shards(
    workers: int, finished: Path, read: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        part = [sample["__key__"] for sample in read(workers=workers)]
        assert part
        keys += part
    assert sorted(keys) == sorted(index.load(finished).key)
