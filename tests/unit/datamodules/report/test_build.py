"""The page is whole, from a whole dataset and from one with nothing beside its index, and asks nothing of a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake.web import serve

from datamodules.dataset import buckets
from datamodules.prepare.captions import write_sidecar
from datamodules.report.build import page as html_of
from datamodules.report.build import report
from dit_video.errors import ConfigError
from tests.unit.datamodules.report.conftest import Reader, dataset_of

EVIL = "</style><script>alert(1)</script> \"'><img src=http://x/>"
SCORES = ("motion", "sharpness", "aesthetic")
SECTIONS = {"look", "dropped", "sizes", "scores", "buckets", "duplicates", "captions", "sources", "sidecars"}


def page(dataset: Path, **keys: object) -> tuple[Reader, str]:
    report(dataset=str(dataset), **keys)  # type: ignore[arg-type]
    html = (dataset / "report.html").read_text(encoding="utf-8")
    return Reader(html), html


def test_a_whole_dataset_gives_every_section_and_loads_nothing(dataset: Path) -> None:
    for path in sorted((dataset / "index").glob("*.parquet")):
        table = pq.read_table(path)
        n, keys = table.num_rows, table["key"].to_pylist()
        rng = np.random.default_rng(int(path.stem))
        table = table.drop_columns([name for name in SCORES if name in table.column_names])
        for name in SCORES:
            table = table.append_column(name, pa.array(rng.random(n)))
        pq.write_table(table, path)
        (dataset / "scores" / "duplicates").mkdir(parents=True, exist_ok=True)
        side = {"key": keys, "copy": [0, 1] + [0] * (n - 2), "group": [int(path.stem)] * 2 + [-1] * (n - 2)}
        side["distance"] = [0.0, 3.0] + [0.0] * (n - 2)
        pq.write_table(pa.table(side), dataset / "scores" / "duplicates" / path.name)
        write_sidecar(dataset, "dense", shard=int(path.stem), keys=keys, texts=[EVIL] * n, model="m")
    reader, html = page(dataset)
    assert reader.anchors >= SECTIONS | {"score-motion", "score-sharpness", "score-aesthetic"}
    assert all(load.startswith(("data:", "#")) for load in reader.loads)
    assert html.count("url(") == html.count("url(data:image/webp;base64,")
    assert {load.removeprefix("#") for load in reader.loads if load.startswith("#")} <= reader.anchors
    assert reader.count["script"] == 1
    assert "img" not in reader.count
    assert 'class="pair"' in html
    assert "All captions of dense are the same" in reader.text
    assert "corrupt.mp4" in reader.text


def test_equal_datasets_give_equal_pages(dataset: Path) -> None:
    assert page(dataset)[1] == page(dataset)[1]


def test_a_dataset_with_nothing_beside_its_index_gives_a_page_too(dataset: Path) -> None:
    for name in ("clips", "latents", "quarantine"):
        shutil.rmtree(dataset / name)
    reader, html = page(dataset)
    assert reader.anchors >= SECTIONS
    assert "pictures are left out" in reader.text
    assert "class=tile" not in html


def test_buckets_are_those_that_are_asked_for(dataset: Path) -> None:
    reader, _ = page(dataset, sizes=["9x32x32"])
    assert "Buckets as given by hand: 9x32x32" in reader.text
    assert "32 × 32" in reader.text


def test_a_page_over_a_url_is_the_local_one(dataset: Path, tmp_path: Path) -> None:
    html = page(dataset, out=None)[1]
    report(dataset=f"file://{dataset}", out=str(tmp_path / "other.html"))
    other = (tmp_path / "other.html").read_text(encoding="utf-8")
    assert other.replace("file://", "") == html


def test_a_dataset_on_a_web_server_has_its_pictures_too(dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(dataset / "latents")  # such a server does not list folders, so sidecars are not found
    html = page(dataset)[1]
    with serve(dataset.parent) as server:
        report(dataset=f"{server.url}/{dataset.name}", out=str(tmp_path / "other.html"))
        other = (tmp_path / "other.html").read_text(encoding="utf-8").replace(server.url, str(dataset.parent))
    assert other == html


@pytest.mark.parametrize(
    "columns",
    [
        {"frames": [1]},
        {"frames": [1, 1], "seconds": [0, 0], "fps": [0, 0]},
        {"frames": [9], "seconds": [0.5], "fps": [18]},
        {"frames": [9, 9], "scores": {"motion": [np.nan, np.nan], "odd": [1e300, -1e300]}},
        {"frames": [9, 1], "texts": {"source": ["", ""], "caption": [None, None], "key": ["", ""]}},
    ],
)
def test_odd_datasets_give_a_page(columns: dict[str, Any]) -> None:
    n = len(columns["frames"])
    found = dataset_of(**{"height": [64] * n, "width": [48] * n, "media_size": [9] * n, **columns})
    table = buckets.generated(pixels=4096, frames=17, time=4, multiple=16)
    with np.errstate(over="ignore"):
        assert Reader(html_of(found, table, fps=12.0, told="")).anchors >= SECTIONS


@pytest.mark.parametrize("keys", [{"fps": 0.0}, {"time": 0}, {"multiple": 0}, {"pixels": 9}, {"out": "/dev/null/x"}])
def test_mistakes_are_of_the_user(dataset: Path, keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        page(dataset, **keys)
