from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from dit_video import checkpoint
from dit_video.errors import CheckpointError
from dit_video.models.recaptioner import Recaptioner
from dit_video.models.text.tokenizer import PAD, START, STOP, Tokenizer
from dit_video.pipeline.recaption import Words, choose, load, write

TARGET = "dit_video.models.recaptioner.Recaptioner"
SIZE = {"width": 32, "depth": 1, "heads": 4, "vocabulary": 300, "slots": 4, "windows": 2, "side": 16}


@pytest.fixture
def model() -> Recaptioner:
    torch.manual_seed(0)
    model = Recaptioner(**SIZE).eval()
    model.set_tokenizer(Tokenizer.train(["a red circle", "a blue square"], size=300))
    return model


@pytest.fixture
def run(model: Recaptioner, tmp_path: Path) -> Path:
    """A run's folder with one checkpoint, as train.py leaves it."""
    state = {"model": {f"recaptioner.{name}": value for name, value in model.state_dict().items()}}
    config = {"models": {"recaptioner": {"_target_": TARGET, "_partial_": True, **SIZE}}, "datamodules": {"fps": 8.0}}
    folder = tmp_path / "words"
    checkpoint.save(
        folder / "checkpoints", state, config=yaml.safe_dump(config), fingerprint="none", step=1, samples_seen=4
    )
    return folder


def likeliest(model: Recaptioner, video: torch.Tensor, count: int) -> list[list[int]]:
    """Ids written by reading everything anew for every word."""
    rows = []
    for clip in video:
        tokens = torch.tensor([[START]])
        for _ in range(count):
            logits = model(clip[None], tokens)[:, -1]
            logits[:, [PAD, START]] = -torch.inf
            tokens = torch.cat([tokens, logits.argmax(1, keepdim=True)], dim=1)
            if tokens[0, -1] == STOP:
                break
        rows.append(tokens[0].tolist())
    return rows


def test_words_are_those_of_decoding_without_a_memory(model: Recaptioner) -> None:
    video = torch.randn(3, 3, 5, 16, 24)
    with torch.no_grad():
        wanted = model.tokenizer().decode(likeliest(model, video, 12))
    assert write(model, video, max_tokens=12) == wanted


def test_draws_are_keyed_by_the_seed(model: Recaptioner) -> None:
    video = torch.randn(3, 3, 5, 16, 24)
    once = write(model, video, max_tokens=12, temperature=1.0, seed=1)
    assert once == write(model, video, max_tokens=12, temperature=1.0, seed=1)
    assert once != write(model, video, max_tokens=12, temperature=1.0, seed=2)


def test_controls_are_never_words() -> None:
    logits = torch.full((1, 6), -1.0)
    logits[0, [PAD, START]] = 50.0
    for temperature in (0.0, 1.0):
        chosen = choose(logits, temperature=temperature, sources=[torch.Generator().manual_seed(0)])
        assert chosen.item() not in (PAD, START)


def test_captions_of_a_batch_are_those_of_each(model: Recaptioner) -> None:
    clips = [torch.randint(0, 256, (5, 16, 24, 3), dtype=torch.uint8).numpy() for _ in range(3)]
    words = Words(model, name="words", settings={})
    assert words.captions(clips, max_tokens=64) == [words.caption(clip) for clip in clips]


def test_a_run_is_all_that_captioning_needs(model: Recaptioner, run: Path) -> None:
    clip = torch.randint(0, 256, (5, 16, 24, 3), dtype=torch.uint8).numpy()
    newest = next((run / "checkpoints").iterdir())
    for place in (run, newest):
        words = load(place)
        assert words.caption(clip) == Words(model, name="", settings={}).caption(clip)
        assert words.settings == {"fps": 8.0}
        assert words.name == f"words@{newest.name}"


def test_runs_of_something_else_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        load(tmp_path / "absent")
    state = {"model": {"vae.weight": torch.zeros(2)}}
    for config, message in (
        ({"models": {"vae": {}}}, "is of vae; expected the run of a recaptioner"),
        ({"models": {"recaptioner": {"_target_": TARGET, **SIZE}}}, "does not fit"),
    ):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)  # a sound one of the same place would stay
        folder = checkpoint.save(
            tmp_path / "other", state, config=yaml.safe_dump(config), fingerprint="none", step=1, samples_seen=4
        )
        with pytest.raises(CheckpointError, match=message):
            load(folder)
