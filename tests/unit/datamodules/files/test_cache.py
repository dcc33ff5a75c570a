from __future__ import annotations

import fcntl
import hashlib
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from datamodules.files import cache
from datamodules.files.cache import BLOCK, Cache
from dit_video.errors import ConfigError


def item(number: int, size: int = BLOCK) -> tuple[str, bytes]:
    data = number.to_bytes(8, "big") * (size // 8)
    return hashlib.sha256(data).hexdigest(), data


def held(folder: Path) -> int:
    return sum(cache.taken(path.stat().st_size) for path in folder.glob("??/[!.]*"))


def test_what_was_put_is_got_and_nothing_else(tmp_path: Path) -> None:
    kept, (name, data), (other, _) = Cache(tmp_path / "new", gigabytes=1), item(1), item(2)
    assert kept.get(name) is None
    kept.put(name, data)
    assert kept.get(name) == data
    assert kept.get(other) is None
    assert Cache(tmp_path / "new", gigabytes=1).get(name) == data


def test_damaged_files_are_thrown_away(tmp_path: Path) -> None:
    kept, (name, data) = Cache(tmp_path, gigabytes=1), item(1)
    kept.put(name, data)
    (tmp_path / name[:2] / name).write_bytes(data[:-1] + b"x")
    assert kept.get(name) is None
    assert not (tmp_path / name[:2] / name).exists()
    kept.put(name, data)
    assert kept.get(name) == data


def test_what_is_no_hash_touches_no_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    kept = Cache(tmp_path / "cache", gigabytes=1)
    for name in (str(mine), "../mine"):
        assert kept.get(name) is None
        kept.put(name + "2", b"other")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


def test_the_least_recently_read_make_room(tmp_path: Path) -> None:
    kept = Cache(tmp_path, gigabytes=10 * BLOCK / 1e9)
    items = [item(number) for number in range(11)]
    for age, (name, data) in enumerate(items[:10]):
        kept.put(name, data)
        os.utime(tmp_path / name[:2] / name, (0, age))
    assert kept.get(items[0][0]) is not None
    kept.put(*items[10])
    there = [number for number, (name, _) in enumerate(items) if kept.get(name) is not None]
    assert there == [0, *range(2, 11)]
    big = item(11, size=11 * BLOCK)
    kept.put(*big)
    assert kept.get(big[0]) is None
    assert kept.get(items[0][0]) is not None


def test_a_lost_or_wrong_count_is_made_anew(tmp_path: Path) -> None:
    bound = 10 * BLOCK
    for text in (b"", b"rubbish", b"%020d" % 10**12):
        kept = Cache(tmp_path, gigabytes=bound / 1e9)
        (tmp_path / ".bytes").write_bytes(text)
        for number in range(20):
            kept.put(*item(number))
        assert 0 < held(tmp_path) <= bound


def test_unfinished_files_of_the_dead_are_removed(tmp_path: Path) -> None:
    kept, (name, data) = Cache(tmp_path, gigabytes=1), item(1)
    (tmp_path / "ab").mkdir()
    dead, living = tmp_path / "ab" / ".abc.1.tmp", tmp_path / "ab" / ".abd.2.tmp"
    for path in (dead, living):
        path.write_bytes(b"half")
    os.utime(dead, (0, 0))
    kept.put(name, data)
    assert not dead.exists()
    assert living.exists()


def fill(folder: Path, bound: int, first: int) -> None:
    kept = Cache(folder, gigabytes=bound / 1e9)
    for number in range(first, first + 200):
        name, data = item(number % 300)
        found = kept.get(name)
        assert found is None or found == data
        kept.put(name, data)


def test_several_processes_stay_within_the_bound(tmp_path: Path) -> None:
    bound, count = 50 * BLOCK, 4
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=fill, args=(tmp_path, bound, 70 * at)) for at in range(count)]
    for worker in workers:
        worker.start()
    most = 0
    while any(worker.is_alive() for worker in workers):
        with (tmp_path / ".bytes").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            most = max(most, held(tmp_path))
        time.sleep(0.01)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * count
    assert most <= bound
    assert not list(tmp_path.glob("??/.*"))
    assert int((tmp_path / ".bytes").read_bytes()) == held(tmp_path) > bound // 2


def test_a_process_that_keeps_the_lock_costs_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.02)
    kept, (name, data) = Cache(tmp_path, gigabytes=1), item(1)
    with (tmp_path / ".bytes").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept.put(name, data)
        assert kept.get(name) is None
    kept.put(name, data)
    assert kept.get(name) == data


def test_a_disk_that_refuses_turns_it_off_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    kept, (name, data) = Cache(tmp_path / "file", gigabytes=1), item(1)
    with caplog.at_level(logging.WARNING, "dit_video.datamodules"):
        for _ in range(3):
            kept.put(name, data)
            assert kept.get(name) is None
    assert len(caplog.records) == 1
    assert "is off" in caplog.text


def test_a_full_disk_turns_it_off_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Cache(tmp_path, gigabytes=1)
    kept.put(*item(1))

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    kept.put(*item(2))
    assert not kept.on
    assert not list(tmp_path.glob("??/.*"))
    assert Cache(tmp_path, gigabytes=1).get(item(1)[0]) == item(1)[1]


def test_a_bound_of_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cache_gb=0 must be above 0"):
        Cache(tmp_path, gigabytes=0)
