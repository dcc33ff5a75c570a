from __future__ import annotations

import json
from pathlib import Path

import pytest

from dit_video import saves


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of one file."""
    folder = tmp_path / "checkpoints/000000000020-00000005"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("a: 1\n")
    (folder / saves.MANIFEST).write_text(json.dumps({"files": {"config.yaml": {"bytes": 5}}}))
    return folder


def test_checkpoints_are_those_that_are_complete_by_their_names(saved: Path, tmp_path: Path) -> None:
    for name in (".000000000024-00000006.part", "000000000028-00000007", "notes"):
        (saved.parent / name).mkdir()
    (saved.parent / "000000000012-00000003").mkdir()
    (saved.parent / "000000000012-00000003" / saves.MANIFEST).touch()
    found = saves.checkpoints(tmp_path)
    assert [(item.samples_seen, item.step) for item in found] == [(20, 5), (12, 3)]
    assert [item.whole for item in found] == [True, False]
    assert found[0].time == (saved / saves.MANIFEST).stat().st_mtime
    assert saves.checkpoints(tmp_path / "other") == []


@pytest.mark.parametrize("manifest", ["", "{", "[]", "{}", '{"files": 1}', '{"files": {"b": {"bytes": 5}}}'])
def test_what_has_not_the_sizes_of_its_manifest_is_not_whole(saved: Path, tmp_path: Path, manifest: str) -> None:
    (saved / "config.yaml").write_text("a: 12\n")
    assert not saves.checkpoints(tmp_path)[0].whole
    (saved / saves.MANIFEST).write_text(manifest)
    assert not saves.checkpoints(tmp_path)[0].whole
