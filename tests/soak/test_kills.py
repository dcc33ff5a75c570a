"""`make soak`: kill -9 at random steps, as often as asked; every resumed run equals the one that was left alone."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
from pathlib import Path

import pytest

COUNT = int(os.environ.get("DIT_VIDEO_SOAK", "0"))
SPEC = importlib.util.spec_from_file_location("runs", Path(__file__).parents[1] / "unit" / "test_train.py")
assert SPEC is not None
assert SPEC.loader is not None
runs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(runs)


@pytest.mark.skipif(not COUNT, reason="make soak sets DIT_VIDEO_SOAK")
@pytest.mark.timeout(0)
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    oracle = tmp_path / "oracle"
    oracle.mkdir()
    assert runs.start(oracle, "optim=muon").returncode == 0
    draw = random.Random(0)
    for number in range(COUNT):
        folder = tmp_path / str(number)
        folder.mkdir()
        for step in sorted(draw.sample(range(20), 2)):
            kill = f"callbacks.kill={{_target_: fake.kill.Kill, step: {step}, signal: SIGKILL}}"
            assert runs.start(folder, "optim=muon", kill).returncode in {-signal.SIGKILL, 0}
        assert runs.start(folder, "optim=muon").returncode == 0
        assert runs.curve(folder) == runs.curve(oracle)
        assert runs.same_weights(folder, oracle)
