from __future__ import annotations

from pathlib import Path

import pytest

from dit_video import whole


def test_a_file_is_replaced_and_what_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    whole.write(path, "é\n")
    with pytest.raises(UnicodeEncodeError):
        whole.write(path, "new" + "\ud800")
    assert path.read_text(encoding="utf-8") == "é\n"
    whole.write(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_of_what_cannot_be_put_in_place_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        whole.write(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
