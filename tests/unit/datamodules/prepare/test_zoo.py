"""What a folder may hold besides good videos: each file is kept or named with its reason, nothing crashes or hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake import zoo

from datamodules.prepare import curate, workers
from datamodules.prepare.curate import Shard, curate_shard
from datamodules.prepare.curation import clip, parts
from datamodules.prepare.curation.clip import Rules
from datamodules.prepare.curation.schema import MAKING
from datamodules.prepare.curation.sources import Source, written
from dit_video.media.write import write


def rows(dataset: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of index/ or quarantine/."""
    return [row for path in sorted((dataset / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def curated(source: Path, dataset: Path) -> tuple[set[str], dict[str, str]]:
    """Sources that gave samples, and why the others were refused whole."""
    curate.curate(source=str(source), dataset=str(dataset), workers=2, memory_gb=64, file_seconds=60)
    refused = {row["source"]: row["reason"] for row in rows(dataset, "quarantine") if row["seconds"] != row["seconds"]}
    return {row["source"] for row in rows(dataset, "index")}, refused


def test_a_tenth_of_the_zoo(tmp_path: Path) -> None:
    made = zoo.build(tmp_path / "raw", every=10)
    kept, refused = curated(tmp_path / "raw", tmp_path / "made")
    assert kept | set(refused) == {written(name) for name in made}
    assert not kept & set(refused)
    assert {name for name, kind in made.items() if kind == "name"} <= {os.fsdecode(name) for name in kept}
    assert not any("unexpected" in reason or "\n" in reason for reason in refused.values())


def test_odd_names_and_links_and_all_that_is_no_media(tmp_path: Path) -> None:
    made = {}
    for number, (kind, name, make) in enumerate(zoo.zoo()):
        if kind in {"odd", "name"} or name in {"notes", "really mkv.dat", "really png.mp4"}:
            path = tmp_path / "raw" / f"{number:03d} {kind} {name}"
            path.parent.mkdir(exist_ok=True)
            make(path)
            made[written(path.name)] = name
    (tmp_path / "raw" / ".hidden.mp4").write_bytes(b"")
    kept, refused = curated(tmp_path / "raw", tmp_path / "made")
    assert kept | set(refused) == {*made, ".hidden.mp4"} - {name for name in made if name.endswith("folder.mp4")} | {
        name for name in made if name.endswith("link to a folder.mp4")
    }
    named = {made[name]: reason for name, reason in refused.items() if name in made}
    assert named["notes"] == "ignored: neither video nor image"
    assert named["link in circles"] == "ignored: a link to a folder"
    assert named["pipe.mp4"] == named["link to nothing.mp4"] == "is not a file that can be opened"
    assert refused[".hidden.mp4"] == "ignored: hidden"
    assert len(kept) == len(zoo.NAMES) + 5


def shard(tmp_path: Path, names: list[str]) -> Shard:
    """A shard of small videos under these names."""
    (tmp_path / "raw").mkdir()
    for name in names:
        (tmp_path / "raw" / name).write_bytes(zoo.video())
    sources = tuple(Source(path=name, caption="") for name in names)
    rules = Rules(max_seconds=2.0, min_seconds=0.5, crf=14)
    return Shard(number=0, folder=tmp_path / "raw", dataset=tmp_path / "made", sources=sources, rules=rules, plan="p")


def faulty(task: Shard, skip: Mapping[str, str], report: workers.Report) -> None:
    """`curate_shard` with a decoder that sleeps, dies, raises or leaks by the name of its file."""
    whole, leaked = clip.samples, []

    def decode(path: Path, *given: Any) -> parts.Found:
        if "hang" in path.name:
            time.sleep(60)
        if "crash" in path.name:
            os.abort()
        if "raise" in path.name:
            raise ZeroDivisionError("by none")
        if "leak" in path.name:
            leaked.append(bytearray(os.urandom(1)) * 50_000_000)
        return whole(path, *given)

    curate.samples, curate.LEAK = decode, 120_000_000  # type: ignore[attr-defined]
    curate_shard(task, skip, report)
    with (task.dataset / "grown").open("a") as file:
        file.write(f"{50 * len(leaked)}\n")


def test_a_decoder_that_hangs_crashes_and_leaks(tmp_path: Path) -> None:
    names = ["a.mp4", "hang.mp4", "b.mp4", "crash.mp4", "raise.mp4", *(f"leak{at}.mp4" for at in range(8)), "c.mp4"]
    task = shard(tmp_path, names)
    items = list(workers.run(faulty, [task], processes=1, seconds=3.0, memory_gb=64))
    assert items == names
    refused = {row["source"]: row["reason"] for row in rows(task.dataset, "quarantine")}
    assert refused == {
        "hang.mp4": "took longer than 3 seconds",
        "crash.mp4": "the decoder crashed (exit code -6)",
        "raise.mp4": "failed unexpectedly: ZeroDivisionError: by none",
    }
    assert [row["source"] for row in rows(task.dataset, "index")] == [name for name in names if name not in refused]
    assert int((task.dataset / "grown").read_text()) < 400  # MB in the last process: those before it were replaced
    assert not (task.dataset / MAKING).exists() or not list((task.dataset / MAKING).iterdir())


def test_files_that_are_done_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen, whole = shard(tmp_path, ["a.mp4", "b.mp4", "c.mp4"]), [], clip.samples

    def decode(path: Path, *given: Any) -> parts.Found:
        seen.append(path.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return whole(path, *given)

    monkeypatch.setattr(curate, "samples", decode)
    with pytest.raises(KeyboardInterrupt):
        curate_shard(task, {}, lambda _: None)
    curate_shard(task, {}, lambda _: None)
    assert seen == ["a.mp4", "b.mp4", "c.mp4", "c.mp4"]
    assert len(rows(task.dataset, "index")) == 3


def test_memory_that_is_out_is_the_file_s_fault_only_in_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, whole = shard(tmp_path, ["a.mp4", "b.mp4"]), clip.samples

    def decode(path: Path, *given: Any) -> parts.Found:
        if path.name == "b.mp4":
            raise MemoryError
        return whole(path, *given)

    monkeypatch.setattr(curate, "samples", decode)
    with pytest.raises(workers.Again):
        curate_shard(task, {}, lambda _: None)
    assert list(workers.run(curate_shard, [task], processes=0, seconds=9, memory_gb=9)) == ["a.mp4", "b.mp4"]
    assert [row["reason"] for row in rows(task.dataset, "quarantine")] == ["out of memory"]


def test_a_thumbnail_shows_what_was_dropped(tmp_path: Path) -> None:
    write(tmp_path / "short.mp4", zoo_frames(4), fps=12)
    (tmp_path / "good.mp4").write_bytes(zoo.video())
    curate.curate(source=str(tmp_path), dataset=str(tmp_path / "made"), workers=0)
    (row,) = rows(tmp_path / "made", "quarantine")[:1]
    assert row["source"] == "short.mp4"
    assert row["thumbnail"].startswith(b"\xff\xd8")


def zoo_frames(count: int) -> Any:
    """Grey frames (count, 32, 48, 3)."""
    import numpy as np

    return np.full((count, 32, 48, 3), 90, np.uint8)
