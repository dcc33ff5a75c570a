"""A folder of a parent that is gone is removed by the next one, that of a living one is not; full memory is left."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

import pytest

from dit_video.launch import folder


def test_folders_of_the_dead_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MEMORY", tmp_path)
    dead = tmp_path / f"{folder.PREFIX}dead"
    dead.mkdir()
    (dead / folder.LOCK).touch()
    (tmp_path / "other").mkdir()
    with folder.watch_folder() as living, folder.watch_folder() as second:
        (living / "rank-0.beat").touch()
        (living / "settings.yaml").touch()
        folder.clear(living)
        assert {path.name for path in living.iterdir()} == {folder.LOCK, "settings.yaml"}
        assert {path.name for path in tmp_path.iterdir()} == {living.name, second.name, "other"}
        assert living.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_is_not_to_be_swept_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MEMORY", tmp_path)
    lock = fcntl.flock

    def swept_meanwhile(file: object, operation: int) -> None:
        """Another parent comes while this one is about to hold its lock."""
        if operation == fcntl.LOCK_EX:
            folder.sweep(tmp_path)
        lock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", swept_meanwhile)
    with folder.watch_folder() as living:
        assert (living / folder.LOCK).exists()


@pytest.mark.parametrize(("more", "place"), [(0, "memory"), (2**50, "disk"), (None, "disk")])
def test_memory_without_room_is_left_for_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int | None, place: str
) -> None:
    """`more` bytes than are free are wanted; None where there is no memory."""
    (tmp_path / "disk").mkdir()
    if more is not None:
        (tmp_path / "memory").mkdir()
        monkeypatch.setattr(folder, "ROOM", more and shutil.disk_usage(tmp_path).free + more)
    monkeypatch.setattr(folder, "MEMORY", tmp_path / "memory")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    with folder.watch_folder() as living:
        assert living.parent == tmp_path / place
