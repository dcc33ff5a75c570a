"""The ledger against what a small training of the DiT really consumed, as a callback wrote it down."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake import forked

from datamodules import commands, ledger
from datamodules.clips import ClipData
from datamodules.latents import LatentData

SETTINGS = ["experiment=quickstart/dit", "callbacks.samples=null", "logger=csv", "run.name=a", "run.samples=70"]
SETTINGS += ["run.every_samples=30", "optim.schedule.warmup=10", "datamodules.length=300", "datamodules.packs=2"]
SETTINGS += ["datamodules.streams=2", "datamodules.dropout=0.3", "datamodules.captions={dense: 0.5, source: 0.5}"]
SETTINGS += ["models.dit.channels=3", "models.dit.width=32", "models.dit.depth=1", "models.text.width=32"]
SETTINGS += ["models.text.vocabulary=300", "callbacks.record={_target_: fake.record.Record, path: seen.csv}"]


class Run(NamedTuple):
    """A training that is over, and the lines its callback wrote."""

    folder: Path
    dataset: Path
    seen: list[tuple[str, ...]]


@pytest.fixture(scope="module")
def trained(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("ledger")
    dataset = home / "data, set"
    shutil.copytree(finished, dataset)
    for path in sorted((dataset / "index").glob("*.parquet")):
        keys = pq.read_table(path)["key"].to_pylist()[::2]
        (dataset / "captions/dense").mkdir(parents=True, exist_ok=True)
        rows = {"key": keys, "text": [f"dense of {key}" for key in keys]}
        pq.write_table(pa.table(rows), dataset / "captions/dense" / path.name)
    work = home / "work"
    work.mkdir()
    done = forked.start(work, [*SETTINGS, f"datamodules.dataset={dataset}"])
    assert done.returncode == 0, done.stderr
    with (work / "seen.csv").open(encoding="utf-8") as file:
        return Run(work / "outputs/runs/a", dataset, [tuple(row) for row in csv.reader(file)])


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """What the command prints, by column."""
    capsys.readouterr()
    commands.run("datamodules.ledger.ledger", arguments, name="datamodules.ledger")
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


def test_the_ledger_of_all_steps_is_what_was_consumed(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    steps = int(trained.seen[-1][0]) + 1
    found = printed(capsys, f"run={trained.folder}", f"steps=0:{steps}")
    assert [tuple(row[name] for name in ("step", "samples_seen", "key", "source")) for row in found] == [
        row[:4] for row in trained.seen
    ]
    data = LatentData(dataset=str(trained.dataset), length=300, captions={"dense": 1, "source": 1})
    texts, place = data.captions.texts, {key: at for at, key in enumerate(data.index.key)}
    had = [texts[row["caption"]][place[row["key"]]] if row["caption"] else "" for row in found]
    assert had == [row[4] for row in trained.seen]
    assert {row["caption"] for row in found} == {"dense", "source", ""}
    assert {row["dataset"] for row in found} == {str(trained.dataset)}


def test_a_stretch_of_steps_is_a_part_of_the_whole(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    whole = printed(capsys, f"run={trained.folder}", "steps=0:40")
    part = printed(capsys, f"run={trained.folder}", "steps=13:21")
    assert part == [row for row in whole if 13 <= int(row["step"]) < 21]
    assert len({(row["stream"], row["ordinal"]) for row in whole}) == len(whole)


def test_every_sample_is_found_at_all_its_steps(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    data = LatentData(dataset=str(trained.dataset), length=300)
    keys = data.index.key.to_list()
    (trained.folder / "list.txt").write_text("\n".join([*keys, "", "missing", keys[0]]), encoding="utf-8")
    found = printed(capsys, f"run={trained.folder}", f"find=@{trained.folder / 'list.txt'}")
    visits = [(row["step"], row["key"]) for row in found if row["status"] == "trained"]
    assert visits == [(row[0], row[2]) for row in trained.seen]
    held = [row["key"] for row in found if row["status"] == "held out for validation"]
    assert held == [keys[row] for row in data.chosen.held.tolist()] != []
    assert [row["key"] for row in found if row["status"] == "not in the dataset"] == ["missing"]


def test_until_and_sources(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = trained.seen[0][3]
    found = printed(capsys, f"run={trained.folder}", f"find={source},nobody", "until=5")
    assert (
        {(row["step"], row["key"]) for row in found if row["status"] == "trained"}
        == {(row[0], row[2]) for row in trained.seen if row[3] == source and int(row[0]) < 5}
        != set()
    )
    never = printed(capsys, f"run={trained.folder}", f"find={trained.seen[0][2]}", "until=0")
    assert [row["status"] for row in never] == ["not trained on before step 0"]


def test_captions_drawn_in_columns_are_those_drawn_one_by_one(trained: Run) -> None:
    weights = {"dense": 0.2, "source": 0.8}
    data = LatentData(dataset=str(trained.dataset), length=300, captions=weights, dropout=0.2, packs=4)
    visits = ledger.every(next(data.plan.windows()))
    places = zip(visits.items.row, visits.stream, visits.items.ordinal, strict=True)
    wanted = [data.captions.choose(int(r), stream=int(s), ordinal=int(o)) for r, s, o in places]
    names = ledger.drawn(data.captions, visits)
    assert [
        data.captions.texts[name][row] if name else "" for name, row in zip(names, visits.items.row, strict=True)
    ] == wanted


def test_another_dataset_or_order_is_refused(
    trained: Run, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.folder, tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(trained.dataset, moved)
    steps = printed(capsys, f"run={tmp_path / 'run'}", "steps=0:3", f"dataset={moved}")
    assert [row["key"] for row in steps] == [row[2] for row in trained.seen if int(row[0]) < 3]
    for path in (tmp_path / "run/checkpoints").glob("*/manifest.json"):
        told = json.loads(path.read_text(encoding="utf-8"))
        del told["sha256"]  # the first manifests had none
        path.write_text(json.dumps(told | {"samples_seen": told["samples_seen"] + 1}), encoding="utf-8")
    refused(capsys, [f"run={tmp_path / 'run'}", "find=x"], hint="the order of data has changed")
    about = json.loads((moved / "dataset.json").read_text(encoding="utf-8"))
    (moved / "dataset.json").write_text(json.dumps(about | {"fingerprint": "f"}), encoding="utf-8")
    shutil.rmtree(moved / "latents/vae", ignore_errors=False)
    shutil.copytree(finished / "latents/vae", moved / "latents/vae")
    recipe = moved / "latents/vae/recipe.json"
    told = json.loads(recipe.read_text(encoding="utf-8")) | {"dataset_fingerprint": "f"}
    recipe.write_text(json.dumps(told), encoding="utf-8")
    refused(capsys, [f"run={tmp_path / 'run'}", "find=x", f"dataset={moved}"], hint="is not the one that")
    shutil.rmtree(tmp_path / "run/checkpoints")
    refused(capsys, [f"run={tmp_path / 'run'}", "find=x"], hint="has no checkpoint yet")
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(str(trained.dataset), "gone"), encoding="utf-8")
    refused(capsys, [f"run={tmp_path / 'run'}", "steps=0:1"], hint="not in gone; say where it lies now by dataset=DIR")


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *, hint: str) -> None:
    """A mistake is one line, and says what mends it."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        commands.run("datamodules.ledger.ledger", arguments, name="datamodules.ledger")
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert told.out == ""
    assert lines[-1].startswith("error: ")
    assert hint in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["steps=3:3"], "steps=3:3 must be A:B with A below B"),
        (["steps=a:b"], "steps=a:b must be A:B"),
        ([], "needs steps=A:B, or find=KEY"),
        (["steps=0:1", "find=a"], "needs steps=A:B, or find=KEY"),
        (["steps=0:1", "until=3"], "needs steps=A:B, or find=KEY"),
        (["find=,"], "find=, names nothing"),
        (["find=@nowhere"], "find=@nowhere cannot be read"),
        (["steps=0:1", "run=nowhere"], "run=nowhere is not a training run"),
        (["stepz=0:1"], "did you mean steps?"),
    ],
)
def test_mistakes(trained: Run, arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, [f"run={trained.folder}", *arguments], hint=hint)


def test_a_window_holds_every_item_once(trained: Run) -> None:
    data = LatentData(dataset=str(trained.dataset), length=300, packs=4)
    window = next(data.plan.windows())
    visits = ledger.every(window)
    steps = [window.step(at) for at in range(len(window))]
    expected = [
        (step.number, step.samples_seen, pack.stream, pack.number, item.row, item.ordinal)
        for step in steps
        for pack in step.packs
        for item in pack.items
    ]
    columns = (visits.step, visits.samples_seen, visits.stream, visits.pack, visits.items.row, visits.items.ordinal)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    only = ledger.every(window, np.arange(len(data.index)) == expected[0][4])
    assert set(only.items.row.tolist()) == {expected[0][4]}


def test_the_ledger_of_clips_is_what_is_loaded(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"dataset": str(finished), "sizes": ["9x32x32", "17x32x48"], "batch": 2, "packs": 2, "workers": 0}
    node = {"_target_": "datamodules.clips.ClipData", **settings}
    (tmp_path / "config.yaml").write_text(json.dumps({"datamodules": node}), encoding="utf-8")
    found = printed(capsys, f"run={tmp_path}", "steps=1:4")
    data = ClipData(**settings)
    data.begin(1, 16, 0, 1)
    loaded = [(str(batch.place.step), key) for batch in data.train_dataloader() for key in batch.keys]
    assert [(row["step"], row["key"]) for row in found] == loaded != []


def test_a_sample_of_a_mixture_is_named_with_its_dataset(
    mixed: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"dataset": mixed, "length": 300, "packs": 2, "workers": 0}
    node = {"_target_": "datamodules.latents.LatentData", **settings}
    (tmp_path / "config.yaml").write_text(json.dumps({"datamodules": node}), encoding="utf-8")
    data = LatentData(**settings)
    data.begin(0, 60, 0, 1)
    loaded = [(str(b.place.step), key) for b in data.train_dataloader() for key in b.keys if key]
    found = printed(capsys, f"run={tmp_path}", f"steps=0:{int(loaded[-1][0]) + 1}")
    assert [(row["step"], row["key"]) for row in found] == loaded
    images = set(LatentData(**{**settings, "dataset": list(mixed)[1]}).index.source.to_list())
    of = {folder: {row["source"] for row in found if row["dataset"] == folder} for folder in mixed}
    assert all(of.values())
    assert of[list(mixed)[1]] <= images
    refused(capsys, [f"run={tmp_path}", "steps=0:1", "dataset=elsewhere"], hint="has several datasets")
