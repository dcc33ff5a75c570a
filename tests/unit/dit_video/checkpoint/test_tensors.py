from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, StorageMeta

from dit_video import checkpoint
from dit_video.checkpoint import manifest
from dit_video.checkpoint.state import flat
from dit_video.checkpoint.tensors import Reader
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


def test_another_precision_is_refused_by_its_key(tmp_path: Path) -> None:
    live = state(*model())
    live["guard"] = {"seen": torch.ones(2)}
    path = save(tmp_path, live)
    live["guard"] = {"seen": torch.full((2,), 3, dtype=torch.int64)}  # that one begins anew
    checkpoint.load(path, live)
    assert live["guard"]["seen"].tolist() == [3, 3]
    live["model"]["0.bias"] = live["model"]["0.bias"].to(torch.bfloat16)
    match = r"has model\.0\.bias in float32, this run in bfloat16; check trainer\.precision"
    with pytest.raises(CheckpointError, match=match):
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


def bytes_of(payload: object, how: str) -> bytes:
    """A payload as torch or pickle writes it."""
    file = io.BytesIO()
    if how == "pickle":
        pickle.dump(payload, file)
    else:
        torch.save({"x": payload}, file, _use_new_zipfile_serialization=how == "zip")
    return file.getvalue()


def poisoned(path: Path, canary: Path, way: str) -> None:
    """Hide a payload in a checkpoint, in one of the ways in which the library would unpickle it, and seal it anew."""
    index = Reader(path, files=manifest.read(path)["files"]).index
    first = next(iter(index.storage_data))
    item = index.storage_data[first]
    payload = Payload(canary)
    if way == "index":
        index = payload
    elif way == "data of the planner":
        index.planner_data = {"model.0.weight": payload}
    elif way == "storage":
        index.storage_data[first] = payload
    elif way == "transform":
        item.transform_descriptors = ["stream.zstd"]
    elif way == "outside":
        item.relative_path = f"../{canary.name}"
    elif way == "beyond":
        item.length = 10**9
    elif way == "no tensor":
        index.state_dict_metadata[first.fqn] = BytesStorageMetadata()
    else:
        content = bytes_of(payload, way)
        (path / "__9_0.distcp").write_bytes(content)
        item.relative_path, item.offset, item.length = "__9_0.distcp", 0, len(content)
    index.__dict__.pop("storage_meta", None)
    (path / ".metadata").write_bytes(pickle.dumps(index))
    rewrite_manifest(path)


WAYS = [
    "index",
    "data of the planner",
    "storage",
    "transform",
    "outside",
    "beyond",
    "no tensor",
    "pickle",
    "zip",
    "old",
]


@pytest.mark.parametrize("way", [*WAYS, "pickle", "zip", "old"])
def test_what_would_run_code_or_is_no_tensor_is_refused(tmp_path: Path, way: str) -> None:
    path, canary = save(tmp_path, state(*model())), tmp_path / "canary"
    poisoned(path, canary, way)
    manifest.verify(path)
    for attempt in (lambda: checkpoint.weights(path), lambda: checkpoint.load(path, state(*model()))):
        with pytest.raises(CheckpointError) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert not canary.exists()


def test_the_payload_would_run(tmp_path: Path) -> None:
    for number, how in enumerate(("pickle", "zip", "old")):
        content, canary = bytes_of(Payload(tmp_path / f"canary{number}"), how), tmp_path / f"canary{number}"
        torch.load(io.BytesIO(content), weights_only=False) if how != "pickle" else pickle.loads(content)
        assert canary.exists()


def test_state_that_is_no_tensor_is_never_written(tmp_path: Path) -> None:
    saved = state(*model())
    saved["model"] = {**saved["model"], "0._extra_state": {"a": 1}}  # type: ignore[dict-item]
    with pytest.raises(CheckpointError, match=r"model\.0\._extra_state is a dict; a checkpoint holds tensors only"):
        save(tmp_path, saved)


def test_a_checkpoint_of_the_first_format_is_read(tmp_path: Path) -> None:
    """Written by the library's own planner, by a manifest without a hash of itself."""
    saved = state(*model())
    path = save(tmp_path, saved)
    for name in ("__0_0.distcp", ".metadata"):
        (path / name).unlink()
    writer = dcp.FileSystemWriter(path)
    writer.storage_meta = StorageMeta  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(flat(saved), storage_writer=writer, no_dist=True)
    rewrite_manifest(path)
    content = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    del content["sha256"]
    (path / "manifest.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    live = state(*model())
    checkpoint.load(path, live)
    assert all(torch.equal(value, flat(saved)[name]) for name, value in flat(live).items())


def test_no_path_of_this_machine_is_saved(tmp_path: Path) -> None:
    path = save(tmp_path, state(*model()))
    assert all(str(tmp_path).encode() not in file.read_bytes() for file in path.iterdir())
