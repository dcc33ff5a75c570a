from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from datamodules.prepare import store


def test_offsets_point_at_members_and_bytes_repeat(tmp_path: Path) -> None:
    samples = [{"__key__": f"000000_{at:05d}", "mp4": bytes([at]) * (at * 700), "json": b"{}"} for at in range(5)]
    places, digest = store.write_tar(tmp_path / "a.tar", samples)
    again, _ = store.write_tar(tmp_path / "b.tar", samples)
    data = (tmp_path / "a.tar").read_bytes()
    assert data == (tmp_path / "b.tar").read_bytes()
    assert places == again
    assert hashlib.sha256(data).hexdigest() == digest
    for sample, place in zip(samples, places, strict=True):
        for suffix, (offset, size) in place.items():
            assert data[offset : offset + size] == sample[suffix]
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert len(tar.getnames()) == 10


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    store.write_json(path, {"a": 1})

    def fail() -> None:
        with store.atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
