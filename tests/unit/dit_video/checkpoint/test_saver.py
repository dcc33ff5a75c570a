from __future__ import annotations

import errno
import resource
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dit_video import checkpoint
from dit_video.errors import CheckpointError

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import server
from fake.ranks import run_ranks

RULE = checkpoint.Rule(keep=2)


def state(value: float) -> dict[str, dict[str, Tensor]]:
    return {"model": {"w": torch.full((200, 300), value)}, "optimizer": {"w.step": torch.tensor(value)}}


def about(step: int) -> dict[str, object]:
    return {"config": "a: 1\n", "fingerprint": "f", "step": step, "samples_seen": step}


def test_each_save_is_of_its_own_step_though_all_share_their_memory(tmp_path: Path) -> None:
    saver, live = checkpoint.Saver(tmp_path, rule=checkpoint.Rule(keep=9)), state(0.0)
    begun = []
    for step in range(1, 6):
        live["model"]["w"].fill_(step)
        begun.append(saver.begin(live, **about(step)))  # type: ignore[arg-type]
    saver.close()
    for step, future in enumerate(begun, start=1):
        assert torch.equal(checkpoint.weights(future.result())["w"], state(step)["model"]["w"])


def leave(folder: Path) -> None:
    torch.set_num_threads(1)
    saver = checkpoint.Saver(folder, rule=RULE)
    saver.begin(state(1.0), **about(1))  # type: ignore[arg-type]


def test_the_end_of_a_process_waits_for_the_save(tmp_path: Path) -> None:
    process = server.ready().Process(target=leave, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001-00000001"]
    assert checkpoint.latest(tmp_path) is not None


def test_damaged_ones_do_not_push_out_the_last_good_one(tmp_path: Path) -> None:
    for step in (1, 2, 8, 9):
        path = checkpoint.save(tmp_path, state(step), **about(step))  # type: ignore[arg-type]
        if step > 2:
            (path / "__0_0.distcp").write_bytes(b"damaged")
    saver = checkpoint.Saver(tmp_path, rule=RULE)
    for step in (3, 4):
        (saver.begin(state(step), **about(step)).result() / "config.yaml").unlink()  # type: ignore[arg-type]
    saver.begin(state(5), **about(5))  # type: ignore[arg-type]
    saver.close()
    assert checkpoint.latest(tmp_path) == tmp_path / "000000000005-00000005"
    assert sorted(int(path.name.split("-")[1]) for path in tmp_path.iterdir()) == [2, 5, 8, 9]


def fail_on_one(rank: int, folder: Path) -> list[str]:
    """A disk that fails on rank 1 alone, then works again."""
    saver, said = checkpoint.Saver(folder, rule=RULE), []
    for step in (1, 2, 3):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        if (rank, step) == (1, 2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        try:
            said.append(saver.begin(state(step), **about(step)).result(40).name)  # type: ignore[arg-type]
        except CheckpointError as error:
            said.append(str(error))
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    saver.close()
    return said


def test_a_disk_that_fails_on_one_rank_fails_the_save_on_all(tmp_path: Path) -> None:
    one, other = run_ranks(fail_on_one, 2, tmp_path)
    assert one == other
    assert one[0] == "000000000001-00000001"
    assert one[1].startswith("the checkpoint at 2 samples was not saved (File too large); the ones before it are kept")
    assert one[2] == "000000000003-00000003"
    assert sorted(path.name for path in tmp_path.iterdir()) == [one[0], one[2]]


def no_memory(rank: int, folder: Path) -> list[str]:
    """Rank 1 has not the memory for its copy of the second state."""
    saver, said = checkpoint.Saver(folder, rule=RULE), []
    for step in (1, 2, 3):
        live = state(step)
        if (rank, step) == (1, 2):
            live["model"]["w"] = torch.empty((1,)).expand(2**60)  # of which there is no copy
            live["model"]["v"] = torch.empty((1,)).expand(2**60)
        try:
            said.append(saver.begin(live, **about(step)).result(40).name)  # type: ignore[arg-type]
        except CheckpointError as error:
            said.append(str(error))
    saver.close()
    return said


def test_a_copy_that_fails_on_one_rank_fails_the_save_on_all(tmp_path: Path) -> None:
    one, other = run_ranks(no_memory, 2, tmp_path, seconds=30)
    assert one == other
    assert "the checkpoint at 2 samples was not saved (RuntimeError: " in one[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [one[0], one[2]]


def test_a_folder_that_cannot_be_cleared_is_no_failed_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(checkpoint.saver, "prune", stale)
    saver = checkpoint.Saver(tmp_path, rule=RULE)
    assert saver.begin(state(1), **about(1)).result() == checkpoint.latest(tmp_path)  # type: ignore[arg-type]
    saver.close()
    assert "older checkpoints are not deleted: [Errno 116] Stale file handle" in caplog.text


def test_a_folder_that_cannot_be_written_to_says_what_mends_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    saver = checkpoint.Saver(tmp_path / "file" / "checkpoints", rule=RULE)
    with pytest.raises(CheckpointError, match=r"was not saved \(Not a directory\); .*: see to the disk of"):
        saver.begin(state(1), **about(1)).result()  # type: ignore[arg-type]
    saver.close()
