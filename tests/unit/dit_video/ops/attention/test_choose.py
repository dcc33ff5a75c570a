"""Which backend attends here, and why another cannot be had."""

from __future__ import annotations

import logging

import pytest
import torch

from dit_video.errors import ConfigError
from dit_video.ops.attention import BACKENDS, attention, choose, named, segmented

Q, K, V = torch.randn(3, 9, 2, 8).unbind(0)


def test_the_cpu_takes_sdpa_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    choose.chosen.cache_clear()
    with caplog.at_level(logging.INFO, logger="dit_video.ops"):
        for _ in range(2):
            assert torch.equal(attention(Q, K, V, (3, 6), (3, 6)), segmented(Q, K, V, (3, 6), (3, 6)))
    assert [record.message for record in caplog.records] == ["attention on cpu in torch.float32: segmented"]


def test_a_backend_is_had_by_its_name() -> None:
    assert named("auto") is attention
    assert torch.equal(named("segmented")(Q, K, V, (9,), (9,)), attention(Q, K, V, (9,), (9,)))
    with pytest.raises(ConfigError, match="attention=flesh must be one of auto, flash4"):
        named("flesh")


@pytest.mark.parametrize("name", [name for name, backend in BACKENDS.items() if backend.module])
def test_one_that_cannot_be_had_says_why(name: str) -> None:
    with pytest.raises(ConfigError, match=f"attention={name} cannot be had: it runs on GPUs, and this is cpu"):
        named(name)(Q, K, V, (9,), (9,))


def test_gpus_take_what_is_there_and_suits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, there, generation = torch.device("cuda:0"), {"torch.nn.attention.varlen"}, [9]
    monkeypatch.setattr(choose, "installed", lambda module: module in there)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (generation[0], 0))

    def picked(kind: torch.dtype = torch.bfloat16) -> str:
        choose.chosen.cache_clear()
        choose.lacking.cache_clear()
        return choose.chosen(gpu, kind)

    assert picked() == "varlen"
    assert picked(torch.float32) == "segmented"
    there |= {"flash_attn_interface", "flash_attn.cute", "flash_attn.flash_attn_interface"}
    assert picked() == "flash3"
    generation[0] = 10
    assert picked() == "flash4"
    generation[0] = 8
    assert picked() == "flash2"
    choose.chosen.cache_clear()
    choose.lacking.cache_clear()
