"""The report: whole from whole inputs, whole from none, and nothing in it that asks for anything outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.quickstart import curves, report, sheets
from dit_video.media.image import write_image
from dit_video.media.write import write

VOID = {"meta", "link", "img", "br", "path", "line", "circle"}


class Reader(HTMLParser):
    """Counts elements, keeps what they load, and holds every closing tag against what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "poster", "data", "srcset"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(folder: Path) -> tuple[Reader, str]:
    path = report.build(folder)
    assert path == folder / "report.html"
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader, "".join(reader.text)


def clip(path: Path, *, height: int = 32, width: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, [np.full((height, width, 3), 90, np.uint8)] * 2, fps=12)


def put(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def ask(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_an_empty_folder_gives_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    reader, text = page(tmp_path)
    assert "video" not in reader.count
    for name in ("results.json", "requests.jsonl", "vae.json", "stages.json", "runs/dit/metrics.csv"):
        assert f"{name} is missing" in text


@pytest.mark.parametrize("content", ["", "{", "[1, null]", '{"a": 1}', "null", "\x00"])
def test_damaged_files_are_as_missing_ones(tmp_path: Path, content: str) -> None:
    for name in ("results.json", "requests.jsonl", "vae.json", "stages.json", "captions.json", "verdicts.json"):
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "runs" / "dit").mkdir(parents=True)
    (tmp_path / "runs" / "dit" / "metrics.csv").write_text("step,samples_seen\n1,x\n", encoding="utf-8")
    page(tmp_path)


def test_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    clip(tmp_path / "samples" / "a.mp4")
    write_image(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    ask(tmp_path, {"name": "a", "row": "image_to_video", "prompt": "p", "size": "32x32", "image": "a.png"})
    put(tmp_path, "stages.json", [{"name": "s", "command": "python train.py", "seconds": 2, "peak_gb": 1}])
    reader, _ = page(tmp_path)
    assert reader.count["video"] == 1
    assert reader.count["img"] == 1
    assert all(load.startswith(("data:", "#")) for load in reader.loads)
    assert "url(" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_video_in_the_page_is_the_file(tmp_path: Path) -> None:
    from base64 import b64decode

    clip(tmp_path / "samples" / "a.mp4")
    ask(tmp_path, {"name": "a.mp4", "row": "square", "prompt": "p", "size": "32x32"})
    reader, _ = page(tmp_path)
    uri = next(load for load in reader.loads if load.startswith("data:video/mp4;base64,"))
    assert b64decode(uri.split(",")[1]) == (tmp_path / "samples" / "a.mp4").read_bytes()


def test_what_users_wrote_is_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> \"'><img src=http://x/>"
    clip(tmp_path / "samples" / "a.mp4")
    ask(tmp_path, {"name": "a", "row": evil, "prompt": evil, "size": evil})
    put(tmp_path, "captions.json", [{"key": "k", "source": evil, "dense": evil, "truth": "b"}])
    put(tmp_path, "stages.json", [{"name": evil, "command": evil, "seconds": 1.0, "peak_gb": 1.0}])
    put(
        tmp_path,
        "vae.json",
        [{"key": evil, "source": evil, "psnr_db": 30.0, "original": "x.mp4", "reconstruction": evil}],
    )
    put(tmp_path, "verdicts.json", {"a": {evil: False}})
    reader, text = page(tmp_path)
    assert reader.count["script"] == 1
    assert "img" not in reader.count
    assert text.count("alert(1)") >= 5


def test_figures_and_table_show_the_results(tmp_path: Path) -> None:
    row = {"n": 7, "things": 1.0, "colour": 0.873, "all": 0.912}
    put(
        tmp_path,
        "results.json",
        {
            "checker": {"in_distribution": row, "held_out": row | {"all": 0.5}},
            "image_to_video": {"n": 3, "all": 1.0, "psnr_db": 29.04, "psnr_round_trip_db": 33.06},
            "extension": {"forward": {"psnr_db": None}},
            "vae": {"psnr_db": float("nan")},
            "seconds_total": 1122.3,
        },
    )
    _, text = page(tmp_path)
    for shown in ("91.2", "87.3", "50.0", "18 min 42 s", "29.0 (33.1)", "goal 90 %"):
        assert shown in text
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count('class="goal met"') == 1
    assert html.count('class="goal unmet"') == 1
    assert "Extended forward" not in text
    assert "Autoencoder PSNR" not in text


def test_own_footage_has_neither_checker_nor_goals(tmp_path: Path) -> None:
    put(tmp_path, "results.json", {"vae": {"psnr_db": 27.0}, "seconds_total": 9.0, "peak_memory_gb": 1.0})
    _, text = page(tmp_path)
    assert "own footage" in text
    assert "checker" not in text
    assert "goal " not in text.split("27.0")[1]


def test_a_row_shows_its_first_samples_and_marks_them(tmp_path: Path) -> None:
    lines = [
        {"name": f"{n}.mp4", "row": "wide", "prompt": f"prompt {n}.", "size": "48x32"} for n in range(sheets.SHOWN + 3)
    ]
    for line in lines:
        clip(tmp_path / "samples" / str(line["name"]), width=48)
    (tmp_path / "samples" / "4.mp4").unlink()
    (tmp_path / "samples" / "5.mp4").write_bytes(b"no video")
    ask(tmp_path, *lines)
    put(tmp_path, "verdicts.json", {"0.mp4": {"colour": True, "all": True}, "1": {"in_frame": False, "all": False}})
    reader, text = page(tmp_path)
    assert reader.count["video"] == sheets.SHOWN - 2
    assert text.count("missing") >= 2
    assert "✗ in frame" in text
    assert "all attributes right in 1 of 2" in text
    assert f"prompt {sheets.SHOWN - 1}." in text
    assert f"prompt {sheets.SHOWN}." not in text


def test_differing_and_gained_words_are_told_apart() -> None:
    html = report.dense({"source": "circle", "dense": "a small red circle", "truth": "a large red circle"})
    assert re.findall(r"<mark>(.*?)</mark>", html) == ["small"]
    assert re.findall(r'"gained">(.*?)<', html) == ["red"]
    assert "truth: a <b>large</b> red circle" in html


def test_curves_are_drawn_for_each_run(tmp_path: Path) -> None:
    names = [f"{kind}_sigma{n}" for n in range(4) for kind in ("loss", "share")]
    lines = [",".join(["step", "samples_seen", "loss", *names, "seconds"])]
    lines += [",".join(map(str, [n, 8 * n, 1 / n, *([0.5 / n, 0.25] * 3), "", "", 0.5])) for n in range(1, 50)]
    (tmp_path / "runs" / "dit").mkdir(parents=True)
    (tmp_path / "runs" / "dit" / "metrics.csv").write_text("\n".join(lines), encoding="utf-8")
    reader, text = page(tmp_path)
    assert reader.count["svg"] == 3
    assert "49 steps, 392 samples" in text
    assert "16 at the end · samples a second" in text


def test_loss_by_noise_level_is_the_mean_over_its_share() -> None:
    share = np.linspace(0.1, 0.4, 30)
    columns = {"samples_seen": np.arange(30.0), "loss_sigma2": 0.7 * share, "share_sigma2": share}
    curve = curves.by_level(columns, 2)
    assert curve is not None
    np.testing.assert_allclose(curve.smooth, 0.7)
