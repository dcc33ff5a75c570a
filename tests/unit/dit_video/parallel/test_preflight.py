"""Machines are looked at before training: alone, and together over real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

from dit_video.errors import NodeError, UserError
from dit_video.launch.world import free_port
from dit_video.parallel import preflight
from dit_video.parallel.preflight import Preflight

CPU = torch.device("cpu")


def fly(rank: int, port: int) -> None:
    """A look of two ranks that have joined; what is sent differs by rank, and arrives."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    look = Preflight(folder=Path(), device=CPU, size=2, rank=rank)
    look.alone()
    look.gather()
    look.together()
    assert look.store is not None
    assert look.store.check([f"heard-{rank}"])
    assert not torch.equal(preflight.known(0, CPU), preflight.known(1, CPU))


def test_two_ranks_are_fit() -> None:
    run_ranks(fly, 2, free_port())


def test_a_fit_node_says_what_is_free(tmp_path: Path) -> None:
    look = Preflight(folder=tmp_path / "new", device=CPU)
    look.alone()
    _, _, folder = look.free
    assert folder > 0
    assert (tmp_path / "new").is_dir()


def test_a_device_that_multiplies_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.Tensor.__matmul__
    flipped = torch.zeros(256, 256)
    flipped[3, 4] = 1  # one bit of one number
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: right(a, b) + (flipped if b.ndim == 2 else 0))
    with pytest.raises(NodeError, match="multiplies matrices wrongly"):
        preflight.look_at(CPU)


def test_a_full_node_and_a_full_folder_are_different_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, folder = tmp_path / "shm", tmp_path / "run"
    memory.mkdir()
    monkeypatch.setattr(preflight, "MEMORY", memory)
    free = {memory: 1 << 20, folder: 1 << 40}
    monkeypatch.setattr(preflight, "room", lambda path: free[path])
    with pytest.raises(NodeError, match="shm has 1 MiB free, at least 16 are needed"):
        Preflight(folder=folder, device=CPU).alone()
    free |= {memory: 1 << 40, folder: 0}
    with pytest.raises(UserError, match="is full; free some room"):
        Preflight(folder=folder, device=CPU).alone()


def test_a_folder_that_is_not_there_is_the_nodes_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NodeError, match="is not there: Not a directory"):
        preflight.room(tmp_path / "file" / "run")


def test_a_gpu_that_slurm_gave_and_torch_does_not_see_is_a_bad_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(NodeError, match="torch sees 1"):
        preflight.device("gpu")
    assert preflight.device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    for devices, number in ((8, 1), ("auto", 1), ([2, 5], 5), ("2,5", 5)):
        assert preflight.device("gpu", devices) == torch.device("cuda", number)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert preflight.device("gpu") == torch.device("cuda", 0)


def test_it_is_done_where_slurm_or_gpus_are_or_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_STEP_ID", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def done(wanted: bool | None = None) -> bool:
        return preflight.begin(wanted=wanted, accelerator="cpu", folder=tmp_path) is not None

    assert (done(), done(wanted=True)) == (False, True)
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    assert (done(), done(wanted=False)) == (True, False)


def test_a_link_far_slower_than_the_others_of_its_kind_is_named() -> None:
    names = ["a", "a", "b", "b", "c", "c", "d", "d"]
    between, within = 1000, 9000
    speeds = [between, within] * 4
    assert preflight.slow(speeds, names) == []
    speeds[4] = 90
    (line,) = preflight.slow(speeds, names)
    assert "from rank 3 on b to rank 4 on c is slow: 90 MB/s, where 1000 are usual" in line


def test_what_hangs_is_ended_with_its_reason_and_code(tmp_path: Path) -> None:
    code = (
        "import time; from dit_video.errors import NodeError; from dit_video.parallel.preflight import limited\n"
        "with limited(0.1, lambda: NodeError('node7: hangs')): time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (76, "error: node7: hangs\n")


@pytest.mark.parametrize(
    ("rank", "heard", "guilty"),
    [(1, {0, 3}, True), (2, {0, 3}, False), (0, {0, 3}, False), (1, set(), False)],
    ids=["itself", "neighbour", "heard", "nobody"],
)
def test_who_hears_nobody_and_is_not_heard_is_at_fault(rank: int, heard: set[int], guilty: bool) -> None:
    store = torch.distributed.HashStore()
    for one in heard:
        store.set(f"heard-{one}", "")
    found = Preflight(folder=Path(), device=CPU, size=4, rank=rank, store=store).guilt()
    assert isinstance(found, NodeError) == guilty
