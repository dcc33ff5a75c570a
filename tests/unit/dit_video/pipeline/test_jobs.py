"""Files of prompts: what a line may say, and every mistake on the line and key where it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dit_video.errors import DataError, RequestError
from dit_video.pipeline.jobs import Job, read_jobs


def test_lines_are_jobs_with_seeds_and_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a circle\r\n\n  a\u2028square \n", encoding="utf-8")
    jobs = read_jobs(tmp_path / "p.txt", Job(prompt="", seed=7, size="24x16"))
    assert [(job.prompt, job.seed, job.size) for job in jobs] == [
        ("a circle", 7, "24x16"),
        ("a\u2028square", 8, "24x16"),
    ]
    assert [job.name for job in jobs] == ["00000.mp4", "00001.mp4"]
    assert jobs[1].place == f"prompts={tmp_path / 'p.txt'} line 3"


def test_objects_say_what_differs(tmp_path: Path) -> None:
    lines = [
        {"prompt": "a\u2028b", "seconds": 2, "seed": 5, "name": "x.mp4", "about": {"row": 1, "any": ["thing"]}},
        {"prompt": "", "seconds": 0, "size": None, "seed": None, "name": None, "image": None},
    ]
    text = "\ufeff" + "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "p.JSONL").write_text(text, encoding="utf-8")
    one, other = read_jobs(tmp_path / "p.JSONL", Job(prompt="", seed=7, size="24x16", image="a.png"))
    assert (one.prompt, one.seconds, one.seed, one.name, one.size) == ("a\u2028b", 2, 5, "x.mp4", "24x16")
    assert (other.seconds, other.seed, other.name, other.size, other.image) == (0, 8, "00001.png", "24x16", "a.png")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "is no JSON object"),
        ('["a"]', "is no JSON object"),
        ("[" * 100_000, "is no JSON object"),
        ("{}", "has no prompt"),
        ('{"prompt": null}', "has no prompt"),
        ('{"prompt": 3}', "prompt must be text, got 3"),
        ('{"prompt": "a", "seconds": "abc"}', 'seconds must be a number, got "abc"'),
        ('{"prompt": "a", "seconds": true}', "seconds must be a number, got true"),
        ('{"prompt": "a", "seed": 1.5}', "seed must be an integer, got 1.5"),
        ('{"prompt": "a", "seed": false}', "seed must be an integer, got false"),
        ('{"prompt": "a", "size": 5}', "size must be text, got 5"),
        ('{"prompt": "a", "name": ["x"]}', "name must be text"),
        ('{"prompt": "a", "image": "a\\u0000.png"}', "image must be text"),
        ('{"prompt": "a \\ud800"}', "prompt must be text"),
        ('{"prompt": "a", "second": 1}', "has a key 'second'; did you mean seconds"),
        ('{"prompt": "a", "place": "x"}', "has a key 'place'"),
        ('{"prompt": "a\0"}', "is no text"),
    ],
)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a"}\n\n' + line, encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        read_jobs(file, Job(prompt=""))
    assert f"prompts={file} line 3" in str(caught.value)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 250 + len(str(file))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("p.txt", b"", "is empty"),
        ("p.txt", b"\n \n", "is empty"),
        ("p.txt", b"a\n\x89PNG\r\n\xff\x00", "line 2 is no text"),
        ("p.txt", "a circle".encode("utf-16"), "line 1 is no text"),
        ("p.json", b'{"prompt": "a"}', "is no file of lines"),
        ("other.txt", b"a", "is no file"),
    ],
)
def test_files_of_prompts_that_are_none_are_said(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name.replace("other", "another")).write_bytes(data)
    with pytest.raises(RequestError, match=said):
        read_jobs(tmp_path / name, Job(prompt=""))


def test_what_goes_wrong_for_a_line_is_said_of_it() -> None:
    with pytest.raises(RequestError, match="line 4: nothing there"), Job(prompt="", place="line 4").blamed():
        raise DataError("nothing there")
    with pytest.raises(DataError) as caught, Job(prompt="").blamed():
        raise DataError("nothing there")
    assert str(caught.value) == "nothing there"
