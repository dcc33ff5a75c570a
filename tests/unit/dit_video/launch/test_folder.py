"""A folder of a parent that is gone is removed by the next one, that of a living one is not."""

from __future__ import annotations

import fcntl
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
