from __future__ import annotations

import errno
import hashlib
import multiprocessing
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from datamodules.prepare import store
from dit_video.errors import ConfigError, DataError

CLAIMING = """
import sys
from pathlib import Path
from datamodules.prepare import store
print(store.claim(Path(sys.argv[1])) is not None, flush=True)
sys.stdin.readline()
"""


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


def take_turns(path: Path, times: int) -> None:
    for _ in range(times):
        with store.alone(path):
            pass


def test_many_processes_take_turns(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("fork").Process(target=take_turns, args=(tmp_path / "recipe.json", 300))
        for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 8


def other(path: Path) -> subprocess.Popen[str]:
    """A process that tries to claim a path, says whether it did, and lives until it is killed or told to end."""
    return subprocess.Popen(
        [sys.executable, "-c", CLAIMING, str(path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def said(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline().strip() == "True"


def test_one_process_has_a_file_until_it_releases_it_or_dies(tmp_path: Path) -> None:
    path = tmp_path / "sidecar" / "000000.parquet"
    mine = store.claim(path)
    assert mine is not None
    with other(path) as process:
        assert not said(process)
        process.kill()
    mine.release()
    assert list(path.parent.iterdir()) == []
    with other(path) as process:
        assert said(process)
        assert store.claim(path) is None
        process.kill()
    assert store.claim(path) is not None


def test_parts_share_all_shards() -> None:
    shards = list(range(11))
    parts = [store.share(f"{part}/4", shards) for part in range(4)]
    assert sorted(shard for part in parts for shard in part) == shards == store.share("0/1", shards)
    assert parts[3] == [3, 7]
    for wrong in ("4/4", "1", "a/b", "-1/2"):
        with pytest.raises(ConfigError, match=r"part=.*i/n"):
            store.share(wrong, shards)


def test_finished_shards_have_a_table(tmp_path: Path) -> None:
    assert store.standing(tmp_path / "absent") == set()
    for name in ("000000.parquet", "000012.parquet", "000001.tar", ".000002.parquet.1-a.tmp", "ignored.parquet"):
        (tmp_path / name).touch()
    assert store.standing(tmp_path) == {0, 12}


def test_a_recipe_is_written_once_and_held_against(tmp_path: Path) -> None:
    path, words = tmp_path / "latents" / "vae" / "recipe.json", {"vae_hash": "vae= has other weights"}
    recipe = {"vae": "here", "vae_hash": "a", "fps": 12.0}
    store.agree(path, recipe, skip=("vae",), words=words)
    store.agree(path, recipe | {"vae": "moved"}, skip=("vae",), words=words)
    with pytest.raises(ConfigError, match=r"fps=6\.0 was 12\.0; choose another name=NAME"):
        store.agree(path, recipe | {"fps": 6.0}, words=words)
    with pytest.raises(ConfigError, match="vae= has other weights"):
        store.agree(path, recipe | {"vae_hash": "b"}, words=words)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "sync", full)
    with pytest.raises(DataError, match=r"no room for .*x\.json: No space left on device; make room"):
        store.write_json(tmp_path / "x.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_refuses_is_one_line(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **given: object) -> None:
        raise OSError(code, "refused", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match="cannot be written to: refused"):
        store.write_json(tmp_path / "deep" / "a.json", {})
    with pytest.raises(DataError, match="cannot be written to: refused"):
        store.claim(tmp_path / "deep" / "a.json")


def test_who_claims_a_shard_sweeps_what_a_killed_one_left_of_it(tmp_path: Path) -> None:
    left, others = [".000003.tar.7-ab.tmp", ".000003.parquet.7-cd.tmp"], [".000004.tar.7-ab.tmp", "000003.tar"]
    for name in left + others:
        (tmp_path / name).touch()
    held = store.claim(tmp_path / "000003.parquet")
    assert held is not None
    held.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
