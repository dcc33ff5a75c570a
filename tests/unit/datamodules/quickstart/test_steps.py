"""Both quickstarts: every stage follows those whose results it uses, and their shared settings are those of the VAE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datamodules.quickstart import corpus, footage, steps


class Noted:
    """Notes the stages instead of running them; `known` files are written by the stage that makes them."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known
        self.commands: dict[str, list[list[str]]] = {}
        self.after: dict[str, list[str]] = {}
        self.makes: dict[str, list[Path]] = {}

    def run(self, name: str, *commands: Any, after: Any = (), reads: Any = (), makes: Any = ()) -> None:
        """Note a stage."""
        assert set(after) <= set(self.commands), f"{name} follows a stage that comes later"
        assert all(path.exists() for path in reads)
        self.commands[name], self.after[name], self.makes[name] = [*map(list, commands)], [*after], [*makes]
        for path in makes:
            if path.name in self.known:
                path.write_text(self.known[path.name], encoding="utf-8")

    def before(self, name: str) -> set[str]:
        """All stages that a stage depends on."""
        return {*self.after[name], *(early for other in self.after[name] for early in self.before(other))}


def test_the_corpus_runs_from_raw_files_to_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "EACH", 1)
    monkeypatch.setattr(corpus, "GIVEN", 1)
    noted = Noted({"score.json": json.dumps({"checker": {}})})
    assert corpus.corpus(tmp_path, noted, seed=0) == {"checker": {}}  # type: ignore[arg-type]
    assert noted.before("dit") == {"corpus", "curate", "vae", "recaptioner", "recaption", "encode"}
    assert noted.before("encode") == {"corpus", "curate", "vae"}
    assert "vae" not in noted.before("recaption")
    assert noted.before("check") == set(noted.commands) - {"check", "reconstruct"}
    made = [path for paths in noted.makes.values() for path in paths]
    assert len(made) == len(set(made))


@pytest.mark.parametrize("captioned", [True, False])
def test_own_footage_runs_with_and_without_captions(
    captioned: bool, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"key": "k", "source": "a dog" if captioned else "", "dense": "a brown dog"}]
    monkeypatch.setattr(footage.captions, "read", lambda dataset: rows)
    monkeypatch.setattr(footage, "requests", lambda *given, **named: [])
    noted = Noted({})
    table = finished / "dataset.json" if captioned else None
    footage.footage(tmp_path, noted, source=finished, captions_csv=table, seed=0)  # type: ignore[arg-type]
    assert ("recaption" in noted.before("dit")) == ("recaption" in noted.commands) == captioned
    (curate,) = noted.commands["curate"]
    assert "longest=288" in curate
    assert any(part.startswith("captions_csv=") for part in curate) == captioned
    assert any(part.startswith("datamodules.captions=") for part in noted.commands["dit"][0]) == captioned


def test_clips_are_read_alike_by_all_stages(tmp_path: Path) -> None:
    for family in ("quickstart", "footage"):
        shape = steps.shape(family)
        noted = Noted({})
        noted.run("curate")
        steps.train_vae(noted, tmp_path, family=family)  # type: ignore[arg-type]
        steps.encode(noted, tmp_path, family=family)  # type: ignore[arg-type]
        steps.train_dit(noted, tmp_path, family=family, captioned=False)  # type: ignore[arg-type]
        read = [part.removeprefix("data.") for part in noted.commands["reconstruct"][0] if part.startswith("data.")]
        assert read == steps.written(shape)
        assert {part.split("=")[0] for part in noted.commands["encode"][0]} >= set(shape) & set(steps.ENCODES)
    assert steps.written({"sizes": ["1x2x3", "4x5x6"], "fps": 8}) == ["sizes=[1x2x3,4x5x6]", "fps=8"]
