from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name in ("models/dit/tiny", "models/dit/base", "trainer/cpu", "experiment/small"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    text = "defaults:\n  - _self_\n  - models/dit: null\n  - trainer: cpu\n  - experiment: null\nprompt: ''\n"
    (tmp_path / "train.yaml").write_text(text, encoding="utf-8")
    return tmp_path
