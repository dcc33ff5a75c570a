"""Tags survive what replaces parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from dit_video.models.dit import DiT
from dit_video.optim.groups import TAGS
from dit_video.parallel.tags import tag, tags


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_tags_survive_sharding_and_materialising(alone: None) -> None:
    with torch.device("meta"):
        model = DiT(channels=3, patch=1, width=16, depth=2, heads=2, text_width=8)
    model.lead.rate = 0.1
    kept = tags(model)
    assert kept["layers.1.attn.qkv.weight"] == {"no_decay": False, "matrix": True, "parts": 3}
    assert kept["lead"] == {"no_decay": True, "matrix": False, "rate": 0.1}
    mesh = init_device_mesh("cpu", (1,))
    for block in model.blocks():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.to_empty(device="cpu")
    assert not any(hasattr(p, name) for p in model.parameters() for name in TAGS), "no need for tags any more"
    tag(model, kept)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    assert tags(model) == kept


def test_a_sharded_parameter_stays_one_object(alone: None) -> None:
    model = nn.Linear(4, 6)
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    tag(model, {"weight": {"parts": 3}})
    for _ in range(2):
        model(torch.ones(2, 4)).sum().backward()
        assert model.weight.parts == 3


def test_a_shared_parameter_has_its_tags_under_both_names() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].weight.parts = 3
    kept = tags(model)
    assert kept["0.weight"] == kept["1.weight"] == {"parts": 3}
    assert kept["0.bias"] == {}
    del model[0].weight.parts
    tag(model, kept)
    assert model[1].weight.parts == 3
