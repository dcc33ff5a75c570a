from __future__ import annotations

import json
from pathlib import Path

import pytest

from dit_video.runs import files

HEAD = "step,samples_seen,loss,val_loss,seconds\n"


def test_the_tail_is_the_last_whole_rows(tmp_path: Path) -> None:
    path, said = tmp_path / "metrics.csv", list[str]()
    path.write_text(HEAD + "".join(f"{step},{4 * step},{1 / step},,0.5\n" for step in range(1, 3001)))
    rows = files.tail(path, said=said.append)
    assert [row["step"] for row in rows.steps] == list(range(3001 - files.LAST, 3001))
    assert rows.last("val_loss", "loss") == 1 / 3000
    assert said == []


def test_half_a_line_is_left_out_and_told(tmp_path: Path) -> None:
    path, said = tmp_path / "metrics.csv", list[str]()
    path.write_text(f"{HEAD}1,4,0.5,,0.5\n2,8,0.")
    assert [row["step"] for row in files.tail(path, said=said.append).steps] == [1]
    assert said == [f"{path} ends in half a line, which is left out"]


@pytest.mark.parametrize(
    "text", ["", HEAD, HEAD.strip()[:9], "\0\xff\n1,2\n", f"{HEAD}a,b,c,d,e\n", f"{HEAD}1,2\n", "1"]
)
def test_a_damaged_table_is_at_most_a_line(tmp_path: Path, text: str) -> None:
    path, said = tmp_path / "metrics.csv", list[str]()
    path.write_text(text)
    for read in (files.tail, files.spread):
        assert read(path, said=said.append).steps in ((), [])
    assert len(set(said)) == (text not in {"", HEAD})


def test_what_is_no_file_is_empty(tmp_path: Path) -> None:
    said = list[str]()
    assert files.tail(tmp_path / "none", said=said.append).steps == ()
    assert files.objects(tmp_path / "none", said=said.append) == []
    assert files.one(tmp_path / "none", said=said.append) == {}
    assert said == []
    assert files.tail(tmp_path, said=said.append).steps == ()
    assert len(said) == 1


def test_a_long_table_is_read_in_places_from_the_first_row_to_the_last(tmp_path: Path) -> None:
    path, said = tmp_path / "metrics.csv", list[str]()
    path.write_text(HEAD + "".join(f"{step},{4 * step},{1 / step},,0.5\n" for step in range(1, 60_001)))
    steps = [row["step"] for row in files.spread(path, said=said.append, whole=1000).steps]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, 60_000)
    assert len(steps) < 60_000
    assert len(files.spread(path, said=said.append).steps) == 60_000
    assert said == []


def test_whole_lines_of_objects_are_read(tmp_path: Path) -> None:
    path, said = tmp_path / "a.jsonl", list[str]()
    path.write_text(json.dumps({"a": 1}) + "\n\n[1]\n" + json.dumps({"a": 2}) + '\n{"a":')
    assert files.objects(path, said=said.append) == [{"a": 1}, {"a": 2}]
    assert len(said) == 1
    assert "2 damaged or half-written" in said[0]


def test_half_an_object_is_none(tmp_path: Path) -> None:
    path, said = tmp_path / "a.json", list[str]()
    path.write_text('{"a": ')
    assert files.one(path, said=said.append) == {}
    assert len(said) == 1
