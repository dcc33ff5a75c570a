"""A tiny random CLIP as transformers saves one, with a tokenizer of a few words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

WORDS = ["[pad]", "[start]", "[stop]", "[unknown]", "one", "two", "clip", "still", "good", "bad"]


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = tower | {"vocab_size": len(WORDS), "max_position_embeddings": 16}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config=tower | {"image_size": 32, "patch_size": 8}, projection_dim=12)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[unknown]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[start] $A [stop]", special_tokens=[("[start]", 1), ("[stop]", 2)]
    )
    about = {"pad_token": "[pad]", "bos_token": "[start]", "eos_token": "[stop]", "unk_token": "[unknown]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **about).save_pretrained(folder)
    return folder
