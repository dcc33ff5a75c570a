"""Seeds are functions of all their arguments, and of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import torch

from dit_video.seeds import generator, level, rng, seed_for, uniform


def test_every_argument_counts() -> None:
    seeds = {
        seed_for(0, "noise", 1, 2),
        seed_for(1, "noise", 1, 2),
        seed_for(0, "sigma", 1, 2),
        seed_for(0, "noise", 2, 1),
        seed_for(0, "noise", 12),
        seed_for(0, "noise"),
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_another_process_draws_the_same() -> None:
    code = "from dit_video.seeds import seed_for; print(seed_for(3, 'noise', 'a', 1))"
    environment = os.environ | {"PYTHONHASHSEED": "17"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == seed_for(3, "noise", "a", 1)


def test_what_a_seed_names_never_changes() -> None:
    assert seed_for(0, "noise", 0, 0) == 8_555_164_854_787_981_315  # else no run before this could be resumed


def test_generators_repeat_and_differ() -> None:
    assert torch.equal(torch.rand(4, generator=generator(0, "a", 1)), torch.rand(4, generator=generator(0, "a", 1)))
    assert not torch.equal(torch.rand(4, generator=generator(0, "a", 1)), torch.rand(4, generator=generator(0, "b", 1)))
    assert rng(0, "a").random() == rng(0, "a").random() != rng(0, "b").random()


def test_uniform_is_keyed_and_even() -> None:
    level = uniform(0, "given", 3, np.arange(20000))
    assert abs(level.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(level[1:], level[:-1])[0, 1]) < 0.03
    assert float(uniform(0, "given", 3, 17)) == level[17]
    for other in (uniform(1, "given", 3, 17), uniform(0, "x", 3, 17), uniform(0, "given", 4, 17)):
        assert float(other) != level[17]
    assert float(uniform(0, "given", 3, 17, draw=1)) != level[17]


def test_one_level_is_that_of_many() -> None:
    ordinals = np.asarray([0, 1, 2, 77, 2**40, 2**62])
    for stream in (0, 63):
        many = uniform(5, "caption", stream, ordinals)
        assert [level(5, "caption", stream, ordinal) for ordinal in ordinals.tolist()] == many.tolist()
