"""What the formulas say that ranks send, against a count of what they send in real steps of a DiT on gloo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.traffic import CHECKED, RANKS, counted, hollow_pack, small_task, told
from dit_video.parallel.plan import Plan
from dit_video.parallel.volume import attended, gathered, parted, traffic

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

KINDS = {"allgather_base", "reduce_scatter_base", "allreduce", "alltoall_base"}


@pytest.mark.parametrize(("plan", "kind", "precision"), CHECKED)
def test_the_formulas_are_what_is_sent(plan: Plan, kind: Any, precision: str) -> None:
    plan = plan.fill(RANKS)
    expected, found = told(plan, kind, precision), run_ranks(counted, RANKS, plan, kind, precision)
    norm = 8 * (1 - 1 / plan.parameter_shards)
    for counts in found:
        assert counts.get("allgather_base", 0) == expected.gathers
        assert counts.get("reduce_scatter_base", 0) == expected.scatters
        assert counts.get("allreduce", 0) == expected.copies + norm
    assert max(counts.get("alltoall_base", 0) for counts in found) == expected.trades + expected.matrices
    assert set().union(*found) <= KINDS


def test_one_process_sends_nothing() -> None:
    found = told(Plan(replicate=1), CHECKED[1][1], "32-true")
    assert found.total == 0


def test_a_unit_is_a_block_or_what_is_in_none() -> None:
    made = small_task(CHECKED[0][1])
    made.build()
    found = parted(made.dit)
    assert [unit.again for unit in found] == [True] * 3 + [False]
    assert sum(unit.held(1) for unit in found) == sum(p.numel() for p in made.dit.parameters())
    (text,) = parted(made.text)
    assert not text.again
    made.text.requires_grad_(False)
    (frozen,) = parted(made.text)
    assert (frozen.held(4), frozen.learnt(4)) == (text.held(4), 0)


def test_whole_layers_are_those_of_the_largest_block() -> None:
    def units(depth: int) -> Any:
        return parted(Blocks(depth))

    assert gathered(units(2), ranks=4, half=True) == gathered(units(20), ranks=4, half=True)
    assert gathered(units(2), ranks=1, half=True) == 8 * 8 * (4 * 2 + 2 * 4) + 8 * 2 * 2


class Blocks(nn.Module):
    """Blocks of 64 numbers, and 8 in none."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(depth))
        self.rest = nn.Linear(8, 1, bias=False)

    def blocks(self) -> Any:
        """The blocks."""
        return self.layers


def test_attention_is_given_back_and_texts_do_not_count() -> None:
    made = small_task(CHECKED[0][1])
    with torch.device("meta"):
        made.build()
        before = [block.attn.attend for block in made.dit.layers]
        tokens = attended(made.children(), lambda: made.rehearse(hollow_pack(20, 5, inside=3)))
    assert tokens == 3 * 4 * 20 * 40  # blocks; q, k, v, out; tokens; width
    assert [block.attn.attend for block in made.dit.layers] == before


def test_recompute_trades_again_and_more_micro_batches_send_more() -> None:
    def sent(micros: int, recompute: str) -> Any:
        return traffic(
            parted(Blocks(3)), Plan(replicate=2, sequence=2, recompute=recompute), micros=micros, half=False, tokens=800
        )

    assert (sent(1, "none").trades, sent(1, "full").trades, sent(3, "none").trades) == (1600, 2400, 4800)
    assert sent(3, "none").gathers == 3 * sent(1, "none").gathers
    assert sent(3, "none").copies == sent(1, "none").copies > 0
