"""`sample.py` as its user runs it: videos from a run's folder alone, and a line and exit code 2 for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

import sample as command
from dit_video.media.image import read_image, write_image
from dit_video.media.read import read
from dit_video.media.write import write
from dit_video.pipeline.generate import Models
from tests.unit.dit_video.pipeline.conftest import VAE_SIZE, models, runs, save

assert models
assert runs

Command = Callable[..., int]
SAMPLE = Path(command.__file__)
TINY = ("size=16x16", "sampling.steps=1", "seconds=0.25", "device=cpu")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with things to give."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_image("a.png", np.zeros((16, 16, 3), np.uint8))
    write("a.mp4", np.zeros((4, 16, 16, 3), np.uint8), fps=8)
    return Path.cwd()


@pytest.fixture
def sample(runs: tuple[Path, Path], here: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`sample.py checkpoint=RUN` with further settings, in this process; returns its exit code."""

    def run(*settings: str) -> int:
        monkeypatch.setattr(sys, "argv", ["sample.py"])
        GlobalHydra.instance().clear()
        try:
            command.main([f"checkpoint={runs[1]}", *TINY, *settings])
        except SystemExit as ended:
            return int(str(ended.code))
        return 0

    return run


def test_a_job_is_asked_for_what_can_be_made_alone(
    sample: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sample("prompt=it's red", "out=made/b.mp4", "run.submit=slurm", "run.dry=true", "run.submit.time=30:00") == 0
    script = capsys.readouterr().out
    assert f"#SBATCH --output={here}/made/b.slurm/%j.out" in script
    assert "#SBATCH --time=30:00" in script
    assert "run.submit" not in script
    assert not list(Path("made").iterdir())
    assert sample("prompt=a", "size=17x16", "run.submit=slurm") == 2
    assert sample("prompt=a", "run.submit.qos=a") == 2
    assert "no run/submit is chosen" in capsys.readouterr().err


def test_a_run_is_all_it_needs(runs: tuple[Path, Path], here: Path) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    arguments = [f"checkpoint={runs[1]}", *TINY, "prompt=it's a circle, {red} = ${x}", "out=made/b.mp4"]
    done = subprocess.run(
        [sys.executable, SAMPLE, *arguments], env=environment, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert read("made/b.mp4").frames.shape == (2, 16, 16, 3)
    assert "written: made/b.mp4" in done.stdout
    assert sorted(path.name for path in here.iterdir()) == ["a.mp4", "a.png", "made"]


def test_every_way_of_asking(sample: Command, here: Path) -> None:
    (here / "p.jsonl").write_text(json.dumps({"prompt": "a", "name": "c.mp4"}) + "\n", encoding="utf-8")
    assert sample("prompt=a", "image=a.png", "out=image.mp4") == 0
    assert sample("prompt=a", "video=a.mp4", "extend=forward", "out=forward.mp4") == 0
    assert sample("prompt=a", "video=a.mp4", "extend=backward", "out=backward.mp4") == 0
    assert sample("prompt=a", "seconds=0", "out=still.jpg") == 0
    assert sample("prompts=p.jsonl", "out=videos") == 0
    found = [len(read(f"{name}.mp4").frames) for name in ("image", "forward", "backward", "videos/c")]
    assert found == [2, 6, 6, 2]
    assert read_image("still.jpg").shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["promt=a"], "did you mean prompt"),
        (["prompt=a", "sampling.stepps=3"], "did you mean steps"),
        (["prompt=a", "sampling.steps=few"], "sampling.steps must be int, got 'few'"),
        (["prompt=a", "sampling.solver=magic"], "expected one of euler, heun"),
        (["prompt=a", "seconds=long"], "seconds must be float, got 'long'"),
        (["prompt=a", "seconds=nan"], "seconds=nan is no length"),
        (["prompt=a", "seconds=-1"], "seconds=-1"),
        (["prompt=a", "seconds=0", "image=a.png"], "seconds=0 adds nothing"),
        (["prompt=a", "seconds=0", "video=a.mp4", "extend=forward"], "seconds=0 adds nothing"),
        (["prompt=a", "seed=1.5"], "seed must be int"),
        (["prompt=a", "size=7x7"], "is in no bucket"),
        (["prompt=a", "size=5"], "size must be str or null, got 5"),
        (["prompt=a", "extend=up", "video=a.mp4"], "expected forward or backward"),
        (["prompt=a", "video=a.png", "extend=forward"], "a.png is not a readable video"),
        (["prompt=a", "image=a.mp4"], "a.mp4 is not a readable image"),
        (["prompt=a", "image=b.png"], "cannot read the image b.png"),
        (["prompt=a", "device=gpu"], "device=gpu cannot be used"),
        (["prompt=a", "out=b.gif"], "out=b.gif has none of the suffixes"),
        (["prompt=a", "out=b.png"], "holds one picture, not 2 frames"),
        (["prompt=a", "out=a.png/b.mp4"], "cannot be written: "),
        (["prompt=a", "checkpoint=nowhere"], "checkpoint=nowhere does not exist"),
        (["prompt=a", "vae=nowhere"], "nowhere is not the folder of a run"),
        (["prompt=a", "vae=other"], "vae=other has other weights"),
        (["prompt=" + "x" * 100_000], "prompt has 100000 characters"),
        ([], "expected either prompt= or prompts=FILE"),
        (["prompts=b.jsonl"], "prompts=b.jsonl is no file"),
        (["prompts=a.mp4"], "prompts=a.mp4 line 1 is no text"),
        (["prompts=p.jsonl"], 'prompts=p.jsonl line 3: seconds must be a number, got "abc"'),
        (["prompts=p.txt", "out=b.mp4"], "out=b.mp4 is a file; with prompts= expected a folder"),
    ],
)
def test_a_mistake_is_one_line(
    sample: Command, models: Models, here: Path, capfd: pytest.CaptureFixture[str], settings: list[str], said: str
) -> None:
    (here / "p.jsonl").write_text('{"prompt": "a"}\n\n{"prompt": "b", "seconds": "abc"}\n', encoding="utf-8")
    (here / "p.txt").write_text("a\n", encoding="utf-8")
    if "vae=other" in settings:
        with torch.no_grad():
            models.vae.mean.add_(1)
        save(here / "other", {"vae": {"_target_": "dit_video.models.vae.VAE", **VAE_SIZE}}, {"vae": models.vae})
    before = sorted(here.rglob("*"))
    assert sample(*settings) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ") and said in line] == lines
    assert len(lines) == 1
    assert [path for path in sorted(here.rglob("*")) if path not in before and path.name != "outputs"] == []
