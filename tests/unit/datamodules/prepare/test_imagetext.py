from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.prepare.imagetext import MEAN, STD, ImageText, Preparation, load, preparation
from dit_video.errors import ConfigError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> ImageText:
    return load(str(tiny_clip), device=CPU)


def test_vectors_are_those_of_transformers(clip: ImageText, tiny_clip: Path) -> None:
    from transformers import AutoModel

    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(
        STD
    )[:, None, None]
    ids = clip.tokens(["one two", "two"], padding="max_length", max_length=16, return_tensors="pt")
    whole = AutoModel.from_pretrained(tiny_clip, local_files_only=True).eval()
    with torch.inference_mode():
        out = whole(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], pixel_values=pixels)
    torch.testing.assert_close(clip.pictures(images), out.image_embeds)
    torch.testing.assert_close(clip.texts(["one two", "two"], batch=1), out.text_embeds)
    torch.testing.assert_close(
        clip.pictures(images) @ clip.texts(["one two", "two"]).T * clip.scale, out.logits_per_image
    )


def test_siglip_is_such_a_model_too(tiny_clip: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, SiglipConfig, SiglipModel

    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = tower | {"vocab_size": 10, "max_position_embeddings": 8, "pad_token_id": 0, "eos_token_id": 2}
    config = SiglipConfig(text_config=text, vision_config=tower | {"image_size": 24, "patch_size": 8})
    whole = SiglipModel(config).eval()
    whole.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_clip, local_files_only=True).save_pretrained(tmp_path)
    rule = {"size": {"height": 24, "width": 24}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": rule}))
    found = load(str(tmp_path), device=CPU)
    assert not found.prepare.crop
    images = np.random.default_rng(0).integers(0, 255, (2, 24, 24, 3), dtype=np.uint8)
    ids = found.tokens(["one", "two clip"], padding="max_length", max_length=8, return_tensors="pt")
    with torch.inference_mode():
        out = whole(
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
            pixel_values=torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1,
        )
    torch.testing.assert_close(found.pictures(images), out.image_embeds)
    torch.testing.assert_close(found.texts(["one", "two clip"]), out.text_embeds)


def test_long_and_empty_texts_are_read(clip: ImageText) -> None:
    found = clip.texts(["one " * 500, "one " * 600, ""])
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, (20, 20, True)),
        ({"size": 24, "crop_size": 24, "do_center_crop": True}, (24, 24, True)),
        (
            {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}, "do_center_crop": True},
            (24, 24, True),
        ),
        ({"size": {"height": 16, "width": 24}}, (16, 24, False)),
        ({"size": {"shortest_edge": 24}, "do_center_crop": False}, (24, 24, True)),
    ],
)
def test_processors_of_clip_and_siglip_are_understood(config: dict, wanted: tuple[int, int, bool]) -> None:
    found = preparation(config | {"image_mean": [0.5] * 3}, 20)
    assert (found.height, found.width, found.crop) == wanted
    assert (found.mean, found.std) == ((0.5, 0.5, 0.5), STD)


def test_pictures_are_cropped_or_squashed_to_size() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 16:64] = 255
    rule = {"height": 20, "width": 20, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert (Preparation(crop=True, **rule).fit(image) == 255).all()
    squashed = Preparation(crop=False, **rule).fit(image)
    assert squashed.shape == (20, 20, 3)
    assert squashed.mean() == pytest.approx(255 * 48 / 80, abs=1)
    assert np.array_equal(Preparation(crop=True, **rule).fit(squashed), squashed)
    tensor = Preparation(crop=True, **rule).tensor(squashed[None], CPU)
    assert (tensor.amin(), tensor.amax(), tensor.shape) == (-1, 1, (1, 3, 20, 20))


def test_what_is_no_such_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("absent", "/absent/model", str(tmp_path / "absent")):
        with pytest.raises(ConfigError, match="is no folder"):
            load(name, device=CPU)
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):  # a misspelt path is not looked for on the hub
        load("models/clpi", device=CPU)
    with pytest.raises(ConfigError, match=r"model=.* cannot be loaded: "):
        load(str(tmp_path), device=CPU)


def test_a_language_model_is_no_image_text_model(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=20, bos_token_id=0, eos_token_id=1)).save_pretrained(
        tmp_path
    )
    with pytest.raises(ConfigError, match="is GPT2Model; expected an image-text model"):
        load(str(tmp_path), device=CPU)


def test_weights_that_must_be_unpickled_are_refused(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_clip / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load(str(tmp_path), device=CPU)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "clip"
