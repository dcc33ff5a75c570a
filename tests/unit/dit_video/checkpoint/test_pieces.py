from __future__ import annotations

import hashlib
import itertools
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dit_video import checkpoint
from dit_video.checkpoint import manifest
from dit_video.checkpoint.pieces import Copies, own
from dit_video.checkpoint.state import flat, size_of
from dit_video.errors import CheckpointError
from dit_video.optim.ema import Ema
from dit_video.optim.muon import Muon
from dit_video.parallel.tags import tag, tags

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

State = dict[str, dict[str, Tensor]]


class Net(nn.Module):
    """Rows that divide by no number of ranks, or are fewer than they; a vector, a buffer, a number and nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(6, 30)
        self.odd = nn.Linear(5, 7)
        self.few = nn.Linear(4, 3, bias=False)
        self.gain = nn.Parameter(torch.ones(2))
        self.register_buffer("frequencies", torch.zeros(9))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("none", torch.zeros(0, 4))


def made(sizes: tuple[int, ...], seed: int) -> State:
    """The state of a net after two steps, sharded over the last axis of a mesh and copied over the others."""
    torch.manual_seed(seed)
    net = Net()
    net.frequencies.normal_()
    net.count += seed
    known = tags(net)
    if sizes:
        mesh = init_device_mesh("cpu", sizes, mesh_dim_names=("replicate", "parameters")[-len(sizes) :])
        fully_shard(net.wide, mesh=mesh)
        fully_shard(net, mesh=mesh)
        tag(net, known)
    optimizer, ema = Muon(net.named_parameters(), lr=0.1), Ema(dict(net.named_parameters()), half_life=10)
    for _ in range(2):
        for parameter in net.parameters():
            gradient = torch.randn(parameter.shape)
            parameter.grad = (
                distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
                if isinstance(parameter, DTensor)
                else gradient
            )
        optimizer.step()
        ema.update(samples=1, samples_seen=4)
    return {"model": net.state_dict(), "ema": ema.averages, "optimizer": checkpoint.optimizer_state([optimizer])}


def hashes(state: State) -> dict[str, str]:
    """SHA-256 of every whole tensor."""
    found = {}
    for name, value in sorted(flat(state).items()):
        whole = value.detach().full_tensor() if isinstance(value, DTensor) else value.detach()
        found[name] = hashlib.sha256(whole.numpy().tobytes()).hexdigest()
    return found


def stage(rank: int, folder: Path, sizes: tuple[int, ...], seed: int) -> tuple[dict[str, str], int]:
    """Read the newest checkpoint, if there is one, into another state, and save it as the next one."""
    state = made(sizes, seed)
    found = checkpoint.latest(folder, together=True)
    if found:
        checkpoint.load(found, state, verified=True)
    saver = checkpoint.Saver(folder, rule=checkpoint.Rule(keep=9))
    pending = saver.begin(state, config="", fingerprint="", step=seed + 1, samples_seen=seed + 1)
    assert pending.result().name.endswith(f"{seed + 1:08d}")
    saver.close()
    return hashes(state), sum(piece.data.nbytes for piece in own(state))


def test_another_number_of_processes_and_plan_reads_every_bit(tmp_path: Path) -> None:
    wanted = None
    for seed, sizes in enumerate([(1,), (2,), (4,), (2, 2), (1,)]):
        ranks = run_ranks(stage, torch.Size(sizes).numel(), tmp_path, sizes, seed)
        wanted = wanted or ranks[0][0]
        assert all(read == wanted for read, _ in ranks)
        assert sum(size for _, size in ranks) == size_of(made((), 0)), "a part has no writer, or two"
    state = made((), 9)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    checkpoint.load(newest, state)
    assert hashes(state) == wanted
    assert checkpoint.weights(newest).keys() == dict(Net().state_dict()).keys()


def test_pieces_of_one_process_are_the_live_tensors() -> None:
    state = made((), 0)
    pieces = own(state)
    assert {p.name for p in pieces} == {f"{part}.{name}" for part, named in state.items() for name in named}
    assert all(piece.data.shape == piece.size and not any(piece.offsets) for piece in pieces)
    live = {p.name: p.data.data_ptr() for p in pieces}
    assert live["model.wide.weight"] == state["model"]["wide.weight"].data_ptr()


def test_copies_stay_as_they_were_and_use_their_memory_again() -> None:
    state = {"model": {"w": torch.arange(6.0).reshape(2, 3).t(), "n": torch.tensor(3)}}
    copies = Copies()
    first = copies.take(own(state))
    state["model"]["w"].zero_()
    assert torch.equal(first[1].data, torch.arange(6.0).reshape(2, 3).t())
    second = copies.take(own(state))
    copies.ready()
    assert [piece.data.data_ptr() for piece in first] == [piece.data.data_ptr() for piece in second]
    assert not second[1].data.any()


def sums(rank: int) -> str:
    from torch.distributed.tensor import Partial

    mesh = init_device_mesh("cpu", (2,))
    value = DTensor.from_local(torch.ones(2), mesh, [Partial()])
    with pytest.raises(CheckpointError, match=r"model\.w is a sum"):
        own({"model": {"w": value}})
    return "refused"


def test_a_sum_that_was_never_taken_is_refused() -> None:
    assert run_ranks(sums, 2) == ["refused", "refused"]


def shares(rank: int, folder: Path) -> tuple[str, str]:
    """What a process finds sound when all look together; the second time with a damaged file."""
    first = checkpoint.latest(folder, together=True)
    torch.distributed.barrier()
    assert first is not None
    if rank == 0:
        for name in manifest.read(first)["files"]:
            if name.startswith("__"):
                (first / name).write_bytes(bytes((first / name).stat().st_size))
    torch.distributed.barrier()
    second = checkpoint.latest(folder, together=True)
    return first.name, second.name if second else ""


def test_processes_share_out_the_verifying_and_come_to_one_answer(tmp_path: Path) -> None:
    state = {"model": {"w": torch.ones(3)}}
    names = [
        checkpoint.save(tmp_path, state, config="", fingerprint="", step=step, samples_seen=step).name
        for step in (1, 2)
    ]
    assert run_ranks(shares, 2, tmp_path) == [(names[1], names[0])] * 2
    parts = [{"a": 1, "b": 2, "c": 3}] * 3
    assert set(itertools.chain(*(sorted(part)[rank::3] for rank, part in enumerate(parts)))) == {"a", "b", "c"}
