from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dit_video import config
from dit_video.errors import ConfigError

SAVED = "run:\n  samples: 8\n  seed: 0\noptim:\n  lr: 0.1\n  total: 8\n"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "000000000008-00000002"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(SAVED, encoding="utf-8")
    (folder / "manifest.json").write_text(f'{{"files": {{"config.yaml": {{"bytes": {len(SAVED)}}}}}}}')
    return folder


def test_what_may_differ_may(checkpoint: Path) -> None:
    raw = {"run": {"samples": 16, "seed": 0, "submit": {"time": "1"}}, "optim": {"lr": 0.1, "total": "${run.samples}"}}
    config.same(checkpoint, raw, run="r")


def test_what_would_change_the_run_is_named_with_both_values(checkpoint: Path) -> None:
    raw = {"run": {"samples": 8, "seed": 0}, "optim": {"lr": 0.2, "total": 8}}
    with pytest.raises(ConfigError, match=r"optim\.lr is 0\.2 and the run in r has 0\.1; set it back, or choose"):
        config.same(checkpoint, raw, run="r")


def test_a_run_that_has_seen_its_samples_is_complete(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = {"run": {"samples": 8, "seed": 0}, "optim": {"lr": 0.1, "total": 8}}
    given = {"name": "a", "dir": str(tmp_path), "seed": 0, "every_samples": 1}
    assert config.complete(config.Run(**given, samples=8), raw)
    assert capsys.readouterr().out == f"a is complete: 8 samples in {tmp_path}; a larger run.samples goes on\n"
    assert not config.complete(config.Run(**given, samples=9), raw)
    assert not config.complete(config.Run(**{**given, "dir": str(tmp_path / "other")}, samples=8), raw)
    later = shutil.copytree(checkpoint, checkpoint.with_name("000000000016-00000003"))
    assert config.complete(config.Run(**given, samples=16), raw)
    (later / "config.yaml").write_text("")  # damaged: the run goes on from the one before, whose settings count
    assert not config.complete(config.Run(**given, samples=16), raw)
    with pytest.raises(ConfigError, match="optim"):
        config.complete(config.Run(**given, samples=8), {**raw, "optim": {"lr": 1, "total": 8}})
