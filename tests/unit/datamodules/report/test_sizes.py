from __future__ import annotations

from datamodules.report.sizes import sizes, sources
from tests.unit.datamodules.report.conftest import Reader, dataset_of

COLUMNS = {
    "frames": [24, 48, 1],
    "height": [720, 720, 64],
    "width": [1280, 1280, 48],
    "fps": [24, 29.97, 0],
    "seconds": [1, 1.6, 0],
    "media_size": [1e6, 2e6, 3e4],
}


def test_sizes_rates_and_plots_of_clips_and_images() -> None:
    reader = Reader(sizes(dataset_of(**COLUMNS)))
    assert "1280 × 720" in reader.text
    assert "48 × 64" in reader.text
    assert "29.97 fps" in reader.text
    assert reader.count["svg"] == 7


def test_unknown_columns_leave_their_plot_out() -> None:
    known = {name: COLUMNS[name] for name in ("frames", "height", "width")}
    assert Reader(sizes(dataset_of(**known))).count["svg"] == 3


def test_sources_and_folders_are_counted() -> None:
    names = ["a/x.mp4", "a/x.mp4", "b/y.mp4", "z.mp4"]
    text = Reader(sources(dataset_of(texts={"source": names}, seconds=[1, 1, 1, 1]))).text
    assert "4 samples from 3 source files" in text
    assert "a/250 %2.0 s" in text
    assert "(top)125 %1.0 s" in text
