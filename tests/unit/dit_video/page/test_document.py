from __future__ import annotations

import pytest

from dit_video.page.document import Section, document, duration, note, shown_code
from tests.unit.datamodules.report.conftest import Reader


def test_contents_lead_to_every_section() -> None:
    html = document("<t>", "<h1>h</h1>", [Section("a", "A <b>", "<p>1</p>"), Section("b", "B", "")], style=".x{}")
    reader = Reader(html)
    assert {"#a", "#b"} <= set(reader.loads)
    assert reader.anchors == {"a", "b"}
    assert "A <b>" in reader.text
    assert ".x{}" in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.25, "8.2 s"), (59.9, "1 min 00 s"), (185, "3 min 05 s"), (7790, "2 h 09 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_settings_are_set_as_code() -> None:
    assert (
        shown_code("lower pixels= or a.b=[0.1,null].") == "lower <code>pixels=</code> or <code>a.b=[0.1,null]</code>."
    )
    assert shown_code("no setting here: 3 = 3") == "no setting here: 3 = 3"
    assert "<code>step=encode</code>" in note("python -m x step=encode")
