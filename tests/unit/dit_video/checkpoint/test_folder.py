from __future__ import annotations

import resource
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dit_video import checkpoint
from dit_video.checkpoint import folder as folders
from dit_video.errors import CheckpointError
from dit_video.launch import shared

STATE = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "ema": {"w": torch.ones(2, 3)}}


def save(folder: Path, step: int) -> Path:
    return checkpoint.save(folder, STATE, config="a: 1\n", fingerprint="f", step=step, samples_seen=4 * step)


def test_latest_is_the_one_with_most_samples(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    save(tmp_path, 9)
    newest = save(tmp_path, 10)
    assert checkpoint.latest(tmp_path) == newest
    assert newest.name == "000000000040-00000010"
    assert checkpoint.progress(newest) == checkpoint.Progress(step=10, samples_seen=40, fingerprint="f")
    assert (newest / "config.yaml").read_text(encoding="utf-8") == "a: 1\n"


@pytest.mark.parametrize("name", ["manifest.json", ".metadata", "__0_0.distcp", "config.yaml"])
@pytest.mark.parametrize("damage", ["delete", "truncate", "flip", "empty"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, name: str, damage: str) -> None:
    before, newest = save(tmp_path, 1), save(tmp_path, 2)
    path = newest / name
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        content[len(content) // 2] ^= 0x10
        path.write_bytes({"truncate": content[:-3], "flip": content, "empty": b""}[damage])
    assert checkpoint.latest(tmp_path) == before


def test_an_extra_file_is_damage(tmp_path: Path) -> None:
    (save(tmp_path, 1) / "more.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize("stage", ["write", "manifest", "rename"])
def test_a_failure_at_any_stage_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    before = save(tmp_path, 1)

    def fail(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if stage == "write":
            patch.setattr(folders.writer, "write", fail)
        elif stage == "manifest":
            patch.setattr(folders.manifest, "write", fail)
        else:
            patch.setattr(folders, "_rename", fail)
        with pytest.raises(CheckpointError, match=r"at 8 samples was not saved \(No space left on device\)"):
            save(tmp_path, 2)
    assert list(tmp_path.iterdir()) == [before]
    assert checkpoint.latest(tmp_path) == before
    assert checkpoint.latest(tmp_path / "..") is None
    save(tmp_path, 2)
    checkpoint.prune(tmp_path, rule=checkpoint.Rule(keep=1), newest=checkpoint.latest(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["000000000008-00000002"]


def test_a_file_that_cannot_grow_leaves_the_one_before(tmp_path: Path) -> None:
    before = save(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"at 8 samples was not saved \(File too large\)"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [before]


def test_what_a_kill_has_left_is_no_checkpoint(tmp_path: Path) -> None:
    before, half = save(tmp_path, 1), tmp_path / ".000000000008-00000002.part"
    shutil.copytree(before, half)
    assert folders.candidates(tmp_path) == [before]
    assert checkpoint.latest(tmp_path) == before


def test_a_damaged_newest_is_one_line_of_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, newest = save(tmp_path, 1), save(tmp_path, 2)
    (newest / "config.yaml").write_text("b: 1\n", encoding="utf-8")
    said: list[str] = []
    monkeypatch.setattr(
        folders.log, "get", lambda name: SimpleNamespace(warning=lambda text, *values: said.append(text % values))
    )
    assert checkpoint.latest(tmp_path) == before
    assert len(said) == 1
    assert f"{newest}: config.yaml is damaged" in said[0]


def test_the_same_step_twice_is_fine(tmp_path: Path) -> None:
    assert save(tmp_path, 3) == save(tmp_path, 3) == checkpoint.latest(tmp_path)


def test_an_earlier_start_of_a_job_saves_no_more_and_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shared.ATTEMPT, str(tmp_path / "attempts" / "7-0"))
    (tmp_path / "attempts" / "7-0").mkdir(parents=True)
    folder = tmp_path / "checkpoints"
    first = save(folder, 1)
    written = folders.writer.write

    def slowly(temporary: Path, *given: Any, **more: Any) -> Any:
        """Meanwhile the job is started again, and saves the same step."""
        files = written(temporary, *given, **more)
        (tmp_path / "attempts" / "7-1").mkdir()
        return files

    monkeypatch.setattr(folders.writer, "write", slowly)
    with pytest.raises(CheckpointError, match="7-1 is a later start of this job"):
        save(folder, 2)
    with pytest.raises(CheckpointError, match="7-1 is a later start of this job"):
        save(folder, 2)
    assert checkpoint.latest(folder) == first
    assert len(list(folder.glob(".*.part"))) == 1  # it may be the other's
    monkeypatch.setenv(shared.ATTEMPT, str(tmp_path / "attempts" / "7-1"))
    monkeypatch.setattr(folders.writer, "write", written)
    assert checkpoint.latest(folder) != save(folder, 2)


def test_a_full_disk_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3))
    with pytest.raises(CheckpointError, match="left"):
        save(tmp_path, 1)
