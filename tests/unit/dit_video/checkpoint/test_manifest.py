from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dit_video.checkpoint import manifest
from dit_video.checkpoint.manifest import Progress
from dit_video.errors import CheckpointError


def write(folder: Path, progress: Progress) -> None:
    """A manifest of what lies in a folder."""
    manifest.write(folder, progress, {path.name: manifest.entry(path) for path in folder.iterdir()})


def test_what_is_written_verifies_and_every_bit_counts(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    write(tmp_path, Progress(step=2, samples_seen=8, fingerprint="f"))
    manifest.verify(tmp_path)
    for bit in range(24):
        content = bytearray(b"abc")
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.bin").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.bin is damaged"):
            manifest.verify(tmp_path)


def test_nothing_more_is_hashed_after_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tmp_path / f"{number:03d}").write_bytes(b"abc")
    write(tmp_path, Progress(step=2, samples_seen=8))
    (tmp_path / "000").write_bytes(b"abd")
    hashed = []

    def counted(path: Path) -> dict[str, object]:
        hashed.append(path)
        if path.name != "000":
            time.sleep(0.05)
        return entry(path)

    entry = manifest.entry
    monkeypatch.setattr(manifest, "entry", counted)
    with pytest.raises(CheckpointError, match="000 is damaged"):
        manifest.verify(tmp_path)
    assert len(hashed) < 100


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"step": 1}'])
def test_what_is_no_manifest_is_no_checkpoint(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError):
        manifest.read(tmp_path)


def test_another_format_is_named(tmp_path: Path) -> None:
    write(tmp_path, Progress(step=0, samples_seen=0))
    content = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "manifest.json").write_text(json.dumps(content | {"format": 7}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="format 7"):
        manifest.progress(tmp_path)
