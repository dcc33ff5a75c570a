from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dit_video import checkpoint
from dit_video.checkpoint import manifest
from dit_video.errors import CheckpointError
from dit_video.optim.muon import Muon


def model(width: int = 4) -> tuple[nn.Module, Muon]:
    net = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
    optimizer = Muon(net.named_parameters(), lr=0.1)
    for _ in range(2):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return net, optimizer


def state(net: nn.Module, optimizer: Muon) -> dict[str, dict[str, Tensor]]:
    averages = {name: value.detach() * 2 for name, value in net.named_parameters()}
    return {"model": net.state_dict(), "ema": averages, "optimizer": checkpoint.optimizer_state([optimizer])}


def save(folder: Path, tensors: dict[str, dict[str, Tensor]]) -> Path:
    return checkpoint.save(folder, tensors, config="", fingerprint="", step=2, samples_seen=8)


def test_load_restores_every_tensor_in_place(tmp_path: Path) -> None:
    saved = state(*model())
    path = save(tmp_path, saved)
    net, optimizer = model()
    live = state(net, optimizer)
    assert checkpoint.load(path, live).samples_seen == 8
    for part, tensors in saved.items():
        assert all(torch.equal(live[part][name], value) for name, value in tensors.items())
    assert torch.equal(net[0].weight, saved["model"]["0.weight"])
    assert torch.equal(optimizer.state[net[1].weight]["step"], torch.tensor(2.0))


def test_weights_are_the_averages_or_the_raw(tmp_path: Path) -> None:
    saved = state(*model())
    path = save(tmp_path, saved)
    assert torch.equal(checkpoint.weights(path)["0.weight"], 2 * saved["model"]["0.weight"])
    assert torch.equal(checkpoint.weights(path, ema=False)["0.weight"], saved["model"]["0.weight"])


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, state(*model()))
    with pytest.raises(CheckpointError, match=r"is of another model: ema\.0\.bias is \(4,\) there and \(5,\) here"):
        checkpoint.load(path, state(*model(width=5)))
    live = state(*model())
    live["model"]["more"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"it lacks model\.more"):
        checkpoint.load(path, live)


def rewrite_manifest(path: Path) -> None:
    """As someone would who makes a checkpoint for others to load."""
    files = {file.name: manifest.entry(file) for file in path.iterdir() if file.name != manifest.NAME}
    manifest.write(path, checkpoint.Progress(step=2, samples_seen=8), files)


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def test_an_index_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path, canary = save(tmp_path, state(*model())), tmp_path / "canary"
    (path / ".metadata").write_bytes(pickle.dumps(Payload(canary)))
    rewrite_manifest(path)
    for attempt in (lambda: checkpoint.weights(path), lambda: checkpoint.load(path, state(*model()))):
        with pytest.raises(CheckpointError, match="not allowed"):
            attempt()
    assert not canary.exists()


def test_no_path_of_this_machine_is_saved(tmp_path: Path) -> None:
    path = save(tmp_path, state(*model()))
    assert all(str(tmp_path).encode() not in file.read_bytes() for file in path.iterdir())
