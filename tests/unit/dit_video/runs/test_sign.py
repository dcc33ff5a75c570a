from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dit_video.runs import sign
from dit_video.runs.sign import End, Sign

SIGN = Sign(
    name="a", kind="dit", samples=8, host="h", process=1, parent=None, ranks=1, job="12", nodes="node[1-2]",
    command=None, folder="/", began=1.5, resumed=0, step=2, samples_seen=4,
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert sign.read(tmp_path) is None
    for own in (SIGN, replace(SIGN, ended=End(how="failed", time=3.0, text="why"), stepped=2.0)):
        sign.write(tmp_path, own)
        assert sign.read(tmp_path) == own
    assert [path.name for path in tmp_path.iterdir()] == [sign.NAME]


@pytest.mark.parametrize(
    "changed", [{"samples": "8"}, {"host": None}, {"ended": {"how": "well", "time": 1, "text": ""}}]
)
def test_what_is_of_another_type_is_damage(tmp_path: Path, changed: dict[str, Any]) -> None:
    sign.write(tmp_path, SIGN)
    path = tmp_path / sign.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ValueError, match=next(iter(changed)) if "ended" not in changed else "how"):
        sign.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", '{"name": "a"}', '{"name', "\udcff"])
def test_half_a_file_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / sign.NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r".+"):
        sign.read(tmp_path)


def test_a_process_is_known_until_it_ends_and_no_other_is_taken_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        named = sign.identity(process.pid)
        assert named is not None
        assert sign.lives(named)
        assert sign.exists(process.pid)
        process.kill()
    assert not sign.lives(named)
    assert not sign.exists(process.pid)
    assert not sign.lives(f"{os.getpid()}-1")
