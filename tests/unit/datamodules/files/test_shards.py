from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import pytest
from fake.web import serve

from datamodules.files import shards as module
from datamodules.files import storage
from datamodules.files.shards import Member, Shards
from datamodules.files.stalls import Stalls
from datamodules.files.storage import DamagedError, MissingError
from dit_video.errors import StorageError

COUNT, SIZE = 12, 5000


def made(folder: Path, files: int = 2) -> list[Member]:
    """Files of members one after another, and the members in an order of no system."""
    members = []
    for file in range(files):
        parts = [os.urandom(SIZE + at) for at in range(COUNT)]
        path = folder / f"{file:06d}.tar"
        path.write_bytes(b"".join(parts))
        for at, part in enumerate(parts):
            offset, sha = sum(map(len, parts[:at])), hashlib.sha256(part).hexdigest()
            members.append(Member(path=str(path), offset=offset, size=len(part), hash=sha))
    return [members[(7 * at + 3) % len(members)] for at in range(len(members))]


def elsewhere(members: list[Member], folder: Path, url: str) -> list[Member]:
    return [
        Member(path=member.path.replace(str(folder), url), offset=member.offset, size=member.size, hash=member.hash)
        for member in members
    ]


def sound(members: list[Member], found: list[bytes | DamagedError]) -> list[bool]:
    return [
        isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == member.hash
        for member, data in zip(members, found, strict=True)
    ]


def test_members_come_in_their_order_from_path_url_and_copy(tmp_path: Path) -> None:
    members, reader = made(tmp_path), Shards()
    expected = reader.read_all(members)
    assert all(sound(members, expected))
    assert pickle.loads(pickle.dumps(reader)).read_all(members) == expected
    assert Shards().read_all(elsewhere(members, tmp_path, f"file://{tmp_path}")) == expected
    with serve(tmp_path) as server:
        assert Shards().read_all(elsewhere(members, tmp_path, server.url)) == expected
        assert len(server.asked) == 2, "neighbours are one request"
    one = members[5]
    assert reader.read(one.path, offset=one.offset, size=one.size, sha256=one.hash) == expected[5]
    assert reader.read_all([]) == []
    reader.close()


def test_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN", 3)
    members, reader = made(tmp_path, files=10), Shards()
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert all(sound(members, reader.read_all(members)))
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 3
    reader.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("remote", [False, True])
def test_damage_costs_its_member_only(tmp_path: Path, remote: bool) -> None:
    members = made(tmp_path, files=4)
    flipped, cut, missing = (tmp_path / f"{number:06d}.tar" for number in range(3))
    data = bytearray(flipped.read_bytes())
    data[SIZE + 3] ^= 1  # in the second member
    flipped.write_bytes(bytes(data))
    cut.write_bytes(cut.read_bytes()[: 3 * SIZE + 100])
    missing.unlink()
    with serve(tmp_path) as server:
        asked = elsewhere(members, tmp_path, server.url) if remote else members
        found = Shards().read_all(asked)
    lost = [
        member
        for member in members
        if member.path == str(missing)
        or (member.path == str(cut) and member.offset + member.size > 3 * SIZE + 100)
        or (member.path == str(flipped) and member.offset == SIZE)
    ]
    assert sound(members, found) == [member not in lost for member in members]
    assert len(lost) == 2 * COUNT - 3 + 1
    for member, data in zip(members, found, strict=True):
        assert isinstance(data, MissingError) == (member.path == str(missing))
    first = members.index(lost[0])
    with pytest.raises(DamagedError):
        Shards().read(lost[0].path, offset=lost[0].offset, size=lost[0].size, sha256=asked[first].hash)


def test_a_reply_that_came_damaged_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members, fetch, calls = made(tmp_path), storage.fetch, []

    def spoilt(spans: list[storage.Span], *, patience: float) -> list[bytes | DamagedError]:
        calls.append(len(spans))
        found = fetch(spans, patience=patience)
        return [b"x" * span.bytes for span in spans[:3]] + found[3:] if len(calls) == 1 else found

    monkeypatch.setattr(storage, "fetch", spoilt)
    with serve(tmp_path) as server:
        assert all(sound(members, Shards().read_all(elsewhere(members, tmp_path, server.url))))
    assert calls == [len(members), 3]


def test_what_the_cache_holds_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    members = made(tmp_path / "data")
    cached = Shards(cache=tmp_path / "cache", cache_gb=0.01)
    with serve(tmp_path / "data") as server:
        asked = elsewhere(members, tmp_path / "data", server.url)
        assert all(sound(members[:7], cached.read_all(asked[:7])))
        first = len(server.asked)
        assert all(sound(members, cached.read_all(asked)))
        between = len(server.asked)
        assert first < between
        assert all(sound(members, pickle.loads(pickle.dumps(cached)).read_all(asked)))
        assert len(server.asked) == between
    assert all(sound(members, cached.read_all(asked)))
    assert all(sound(members, Shards(cache=tmp_path / "none").read_all(members)))
    assert not (tmp_path / "none").exists(), "local shards are not cached"


def test_storage_that_does_not_answer_is_not_damage(tmp_path: Path) -> None:
    members = made(tmp_path)
    with serve(tmp_path) as server:
        server.fault = lambda path: 503 if path.startswith("000001") else None
        with pytest.raises(StorageError, match=r"\(503 "):
            Shards(patience=0.05).read_all(elsewhere(members, tmp_path, server.url))


def test_a_stale_handle_is_opened_again_and_a_bad_block_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, pread, fail = made(tmp_path), os.pread, [errno.ESTALE, errno.ESTALE]

    def failing(handle: int, size: int, offset: int) -> bytes:
        if fail:
            raise OSError(fail[0], os.strerror(fail.pop(0)))
        return pread(handle, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert all(sound(members, Shards().read_all(members)))
    fail.append(errno.EIO)
    assert sound(members, Shards().read_all(members)) == [False] + [True] * (len(members) - 1)
    fail += [errno.ESTALE] * 100
    with pytest.raises(StorageError, match="Stale"):
        Shards(patience=0.05).read_all(members)


def test_a_disk_that_hangs_is_told_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    members, pread, reader = made(tmp_path), os.pread, Shards()
    reader.stalls = Stalls(slow=0.01, tick=0.005)

    def hanging(handle: int, size: int, offset: int) -> bytes:
        for _ in range(500):
            if caplog.records:
                break
            time.sleep(0.01)
        return pread(handle, size, offset)

    monkeypatch.setattr(os, "pread", hanging)
    with caplog.at_level(logging.WARNING, "dit_video.datamodules"):
        assert all(sound(members, reader.read_all(members)))
    assert [members[0].path in record.getMessage() for record in caplog.records] == [True]


def check(reader: Shards, members: list[Member]) -> None:
    assert all(sound(members, reader.read_all(members)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_with_what_the_parent_has_used(method: str, tmp_path: Path) -> None:
    members, reader = made(tmp_path), Shards()
    with serve(tmp_path) as server:
        asked = members + elsewhere(members, tmp_path, server.url)
        check(reader, asked)
        context = multiprocessing.get_context(method)
        workers = [context.Process(target=check, args=(reader, asked)) for _ in range(2)]
        for worker in workers:
            worker.start()
        check(reader, asked)
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
    reader.close()


def test_files_end_with_what_has_opened_them(tmp_path: Path) -> None:
    members = made(tmp_path)
    shards = Shards()
    shards.read_all(members)
    handles = list(shards.handles.values())
    del shards
    for handle in handles:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)
