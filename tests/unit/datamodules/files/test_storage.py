from __future__ import annotations

import errno
import gc
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake.web import Server, serve

from datamodules.files import storage
from datamodules.files.storage import DamagedError, MissingError, Span, Tries
from dit_video.errors import DataError, StorageError

DATA = bytes(range(256)) * 4096


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "a b.bin").write_bytes(DATA)
    (tmp_path / "empty").write_bytes(b"")
    with serve(tmp_path) as server:
        yield server


def failing(status: int, times: int) -> object:
    left = [times]

    def fault(path: str) -> int | None:
        left[0] -= 1
        return status if left[0] >= 0 else None

    return fault


@pytest.mark.parametrize("scheme", ["", "file://", "http"])
def test_files_are_read_and_missing_ones_told(scheme: str, web: Server) -> None:
    folder = web.url if scheme == "http" else f"{scheme}{web.folder}"
    assert storage.is_local(folder) == (scheme != "http")
    assert storage.read(storage.join(folder, "a b.bin")) == DATA
    assert storage.read(storage.join(folder, "empty")) == b""
    assert storage.exists(storage.join(folder, "empty"))
    assert not storage.exists(storage.join(folder, "deep", "none"))
    with pytest.raises(MissingError, match="no such file"):
        storage.read(storage.join(folder, "none"))


@pytest.mark.parametrize("scheme", ["", "http"])
def test_spans_come_in_their_order_short_where_the_file_ends(scheme: str, web: Server) -> None:
    path = storage.join(web.url if scheme else web.folder, "a b.bin")
    end = len(DATA)
    asked = [Span(path, 900_000, 900_100), Span(path, 0, 10), Span(path, end - 5, end + 5), Span(path, 12, 20)]
    assert storage.fetch(asked) == [DATA[900_000:900_100], DATA[:10], DATA[-5:], DATA[12:20]]
    missing, found = storage.fetch([Span(path + "x", 0, 4), Span(path, 0, 4)])
    assert isinstance(missing, MissingError)
    assert found == DATA[:4]


def test_neighbours_are_one_request(web: Server) -> None:
    path = storage.join(web.url, "a b.bin")
    spans = [Span(path, at, at + 100) for at in range(0, 100_000, 1000)]
    assert storage.fetch(spans) == [DATA[span.start : span.end] for span in spans]
    assert len(web.asked) == 1
    far = [Span(path, 0, 10), Span(path, 10 + storage.GAP + 1, 200_000)]
    assert [len(data) for data in storage.fetch(far) if isinstance(data, bytes)] == [10, 200_000 - 11 - storage.GAP]
    assert len(web.asked) == 3


def test_a_span_beyond_the_end_is_damage_and_not_a_missing_file(web: Server) -> None:
    found = storage.fetch([Span(storage.join(web.url, "a b.bin"), len(DATA), len(DATA) + 1)])[0]
    assert isinstance(found, DamagedError)
    assert not isinstance(found, MissingError)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_refusals_are_tried_again_with_one_line(
    status: int, web: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PAUSES", (0.01, 0.02))
    web.fault = failing(status, 3)
    with caplog.at_level(logging.WARNING, "dit_video.datamodules"):
        assert storage.fetch([Span(storage.join(web.url, "a b.bin"), 3, 9)]) == [DATA[3:9]]
    lines = [record.getMessage() for record in caplog.records]
    assert [f"({status} " in line for line in lines] == [True, False]
    assert "can be read again" in lines[1]


def test_storage_that_stays_away_stops_the_run(web: Server) -> None:
    path = storage.join(web.url, "a b.bin")
    web.fault = failing(503, 10**6)
    with pytest.raises(StorageError, match=r"\(503 .*the same command goes on"):
        storage.read(path, patience=0.05)
    with pytest.raises(StorageError, match=r"\(503 "):
        storage.exists(path, patience=0.05)
    web.fault = lambda path: None
    assert storage.read(path) == DATA


def test_patience_begins_with_the_first_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    tries = Tries(patience=300)
    now[0] += 1000  # that a long list of files took
    tries.again("a", OSError("refused"))
    now[0] += 299
    tries.again("a", OSError("refused"))
    now[0] += 1
    with pytest.raises(StorageError, match="for 300 s"):
        tries.again("a", OSError("refused"))


def test_no_answer_is_a_time_out(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SILENCE", 0.1)
    web.hang = True
    with pytest.raises(StorageError, match="takes too long"):
        storage.fetch([Span(storage.join(web.url, "a b.bin"), 0, 10)], patience=0.15)
    web.hang = False
    assert storage.fetch([Span(storage.join(web.url, "a b.bin"), 0, 10)]) == [DATA[:10]]


def test_a_server_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        url = server.url
    with pytest.raises(StorageError, match="nothing is lost"):
        storage.read(f"{url}/a", patience=0.05)


def test_a_server_without_ranges_is_refused(web: Server) -> None:
    web.whole = True
    with pytest.raises(StorageError, match="ignores ranges"):
        storage.fetch([Span(storage.join(web.url, "a b.bin"), 0, 10)])


def test_a_forked_process_reads_too(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SILENCE", 3.0)
    monkeypatch.setattr(storage, "UNKNOWN", 0)
    path = storage.join(web.url, "a b.bin")
    assert storage.read(path) == DATA
    child = os.fork()
    if child == 0:
        sound = storage.read(path, patience=0) == DATA
        gc.collect()
        os._exit(0 if sound and storage.read(path, patience=0) == DATA else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert storage.read(path, patience=0) == DATA, "the parent's connections live on"


def test_unknown_schemes_are_a_users_mistake_and_passwords_are_not_shown() -> None:
    with pytest.raises(DataError, match=r"foo://it/x.*fsspec") as raised:
        storage.read("foo://me:secret@it/x")
    assert "secret" not in str(raised.value)


def test_a_stale_handle_of_a_table_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    fail, opened = [errno.ESTALE, errno.ESTALE], Path.open

    def failing(path: Path, mode: str) -> object:
        if fail:
            raise OSError(fail.pop(), "Stale file handle")
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", failing)
    assert storage.read(tmp_path / "a") == b"abc"
    fail += [errno.ESTALE] * 99
    with pytest.raises(StorageError, match="Stale"):
        storage.read(tmp_path / "a", patience=0.05)
    fail[:] = [errno.EIO]
    with pytest.raises(DamagedError):
        storage.read(tmp_path / "a")
