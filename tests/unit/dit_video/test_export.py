from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from dit_video import checkpoint
from dit_video.errors import CheckpointError, ConfigError
from dit_video.export import export, main
from dit_video.pipeline import exported

MODEL = {
    "net.a": torch.arange(12.0).reshape(3, 4),
    "net.b": torch.arange(5, dtype=torch.bfloat16),
    "net.flag": torch.tensor(True),
    "net.none": torch.zeros(0, 3),
    "net.z": torch.arange(100, dtype=torch.int64),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    state = {"model": MODEL, "ema": {"net.a": -MODEL["net.a"]}, "optimizer": {"net.a.momentum": torch.ones(3, 4)}}
    config = "models: {net: {_target_: x}}\nrun: {dir: /home/someone}\n"
    checkpoint.save(tmp_path / "a/checkpoints", state, config=config, fingerprint="f", step=2, samples_seen=8)
    return tmp_path / "a"


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_the_library_reads_what_was_written(run: Path, weights: str) -> None:
    (file,) = export(str(run), out=str(run / "out" / "x.safetensors"), weights=weights)
    assert same(load_file(file), checkpoint.weights(checkpoint.latest(run / "checkpoints"), ema=weights == "ema"))  # type: ignore[arg-type]
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()
    assert (about["step"], about["samples_seen"], about["fingerprint"]) == ("2", "8", "f")
    assert (about["weights"], about["run"], about["format"]) == (weights, "a@000000000008-00000002", "pt")
    assert json.loads(about["config"]) == {"models": {"net": {"_target_": "x"}}}
    assert "someone" not in str(about)
    assert [path.name for path in file.parent.iterdir()] == ["x.safetensors"]


def test_several_files_and_their_index(run: Path) -> None:
    *files, index = export(str(run), out=str(run / "x.safetensors"), weights="raw", largest=60)
    assert [file.name for file in files] == [f"x-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert index.name == "x.safetensors.index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    assert content["metadata"]["total_size"] == sum(value.nbytes for value in MODEL.values())
    for name, value in MODEL.items():
        assert torch.equal(load_file(run / content["weight_map"][name])[name], value)
    for path in (index, run / "x.safetensors"):
        assert same(exported.read(path).weights(ema=False), MODEL)


def saved(run: Path, step: int) -> None:
    """A further checkpoint, in which everything is `step`."""
    state = {"model": {name: torch.full_like(value, step) for name, value in MODEL.items()}}
    config = "models: {net: {_target_: x}}\n"
    checkpoint.save(run / "checkpoints", state, config=config, fingerprint="f", step=step, samples_seen=4 * step)


@pytest.mark.parametrize(("before", "after"), [(10**6, 60), (60, 10**6), (60, 60)], ids=["more", "fewer", "as many"])
def test_another_export_to_the_same_name_takes_the_place_of_the_first(run: Path, before: int, after: int) -> None:
    out = run / "out" / "x.safetensors"
    export(str(run), out=str(out), weights="raw", largest=before)
    saved(run, 3)
    files = export(str(run), out=str(out), weights="raw", largest=after)
    assert exported.read(out).about["step"] == "3"
    assert (exported.read(out).weights(ema=False)["net.z"] == 3).all()
    left = {path.name for path in out.parent.iterdir()} - {file.name for file in files}
    assert all("-of-" in name for name in left), "nothing of the first is to be taken for the weights"


@pytest.mark.parametrize("at", range(1, 4))
def test_a_kill_in_an_export_leaves_no_mixture(run: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out, seen = run / "x.safetensors", iter(range(1, 99))

    def killed(path: Path, target: Path) -> Path:
        if next(seen) == at:
            raise KeyboardInterrupt
        return path.rename(target)

    *files, index = export(str(run), out=str(out), weights="raw", largest=60)
    text = index.read_text(encoding="utf-8")
    saved(run, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            export(str(run), out=str(out), weights="raw", largest=60)
    with pytest.raises(CheckpointError, match="cannot be read"):
        exported.read(out)
    index.write_text(text, encoding="utf-8")  # as if the index had been left
    if at == 2:
        with pytest.raises(CheckpointError, match="are of several exports"):
            exported.read(out)
    else:
        assert exported.read(out).about["step"] == ("2" if at == 1 else "3")
    assert {path.name for path in run.iterdir()} == {"checkpoints", index.name, *(file.name for file in files)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["checkpoint=RUN"], "out is not set"),
        (["checkpoint=RUN", "out=x.pt"], "expected FILE.safetensors"),
        (["checkpoint=RUN", "out=x.safetensors", "weights=mean"], "expected ema or raw"),
        (["checkpoint=RUN", "out=x.safetensors", "weihgts=ema"], "there is no weihgts"),
        (["checkpoint=nowhere", "out=x.safetensors"], "nowhere is not the folder of a run"),
    ],
)
def test_a_mistake_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([item.replace("RUN", str(run)) for item in arguments])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in said
    assert said.count("\n") == 1


def test_weights_are_ema_or_raw(run: Path) -> None:
    with pytest.raises(ConfigError):
        export(str(run), out="x.safetensors", weights="both")


def test_a_damaged_checkpoint_is_not_exported(run: Path) -> None:
    (found,) = (run / "checkpoints").iterdir()
    (found / "__0_0.distcp").write_bytes(b"")
    for where in (run, found):
        with pytest.raises(CheckpointError):
            export(str(where), out=str(run / "x.safetensors"))
    assert not (run / "x.safetensors").exists()
