from __future__ import annotations

from pathlib import Path

import pytest

from datamodules import ledger
from datamodules.clips import ClipData
from dit_video.errors import ConfigError


def test_ledger_is_what_was_loaded(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.main([f"dataset={finished}", "kind=clips", "sizes=[9x32x32,17x32x48]", "batch=2", "packs=2", "steps=1:4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ledger.COLUMNS
    data = ClipData(dataset=str(finished), sizes=["9x32x32", "17x32x48"], batch=2, packs=2, workers=0)
    data.begin(1, 16, 0, 1)
    expected = [(str(batch.place.step), key) for batch in data.train_dataloader() for key in batch.keys]
    assert [(line.split(",")[0], line.split(",")[5]) for line in lines[1:]] == expected


def test_ledger_of_a_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = f"_target_: datamodules.latents.LatentData\n  dataset: {finished}\n  length: 300\n  packs: 2"
    (tmp_path / "config.yaml").write_text(f"datamodules:\n  {node}\n")
    ledger.main([f"run={tmp_path}", "steps=0:2"])
    assert {line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]} == {"0", "1"}


@pytest.mark.parametrize("wrong", [["steps=3:3"], ["steps=a:b"], [], ["nonsense"]])
def test_mistakes_are_one_line(finished: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        ledger.main([f"dataset={finished}", "kind=clips", *wrong])
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        ledger.of_run("absent")
