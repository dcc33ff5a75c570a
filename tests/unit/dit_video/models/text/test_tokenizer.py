from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from dit_video.errors import DataError
from dit_video.models.text.tokenizer import PAD, SMALLEST, START, STOP, Tokenizer, normalise, trim

CAPTIONS = [
    "a large red circle moves slowly to the left on a grey ground",
    "a small blue square stands still on a white ground",
    "a small red triangle moves quickly up on a black ground",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CAPTIONS, size=512)


@pytest.mark.parametrize(
    "text",
    [
        *CAPTIONS[:3],
        "",
        "Größe: 漢字 🎬, \t tabs\nand  spaces ",
        "</s> <pad> <s> are words here",
        "ﬁve ＡＢＣ",
        "a\u202eb\x00c",
    ],
)
def test_round_trip_is_the_normalised_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode([text], length=200)) == [normalise(text)]


def test_layout_of_ids(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode([CAPTIONS[0], ""], length=40)
    assert ids.dtype == torch.int64
    assert ids[1].tolist() == [START, STOP] + [PAD] * 38
    assert (ids[0] == STOP).sum() == 1


def test_spelt_out_control_tokens_are_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(["red </s> circle <pad>"], length=60)[0]
    assert (ids == STOP).sum() == 1
    assert ids[ids.tolist().index(STOP) :].tolist() == [STOP] + [PAD] * int((ids == PAD).sum())


def test_longer_padding_changes_nothing_before_it(tokenizer: Tokenizer) -> None:
    short, long = (tokenizer.encode(CAPTIONS[:3], length=length) for length in (30, 50))
    assert torch.equal(short, long[:, :30])
    assert (long[:, 30:] == PAD).all()


def test_trimming_drops_only_padding(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(CAPTIONS[:3], length=50)
    short = trim(ids)
    assert (ids[:, short.shape[1] :] == PAD).all()
    assert (short[:, -1] != PAD).any()


def test_a_cut_text_has_no_stop(tokenizer: Tokenizer) -> None:
    assert STOP not in tokenizer.encode([CAPTIONS[0]], length=5)


def test_words_of_the_corpus_are_single_ids(tokenizer: Tokenizer) -> None:
    words = CAPTIONS[0].split()
    assert (tokenizer.encode([CAPTIONS[0]], length=60) != PAD).sum() == len(words) + 2


def test_json_and_tensor_carry_everything(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(CAPTIONS, length=30)
    for copy in (
        Tokenizer.from_json(tokenizer.to_json()),
        Tokenizer.from_tensor(tokenizer.to_tensor(length=64 * 512)),
    ):
        assert torch.equal(copy.encode(CAPTIONS, length=30), ids)


def test_file_round_trip(tokenizer: Tokenizer, tmp_path: pytest.TempPathFactory) -> None:
    tokenizer.save(tmp_path / "words.json")
    assert Tokenizer.load(tmp_path / "words.json").to_json() == tokenizer.to_json()


def test_training_depends_on_the_captions_alone() -> None:
    program = (
        "import sys; from dit_video.models.text.tokenizer import Tokenizer;"
        "sys.stdout.write(Tokenizer.train(sys.argv[1:], size=512).to_json())"
    )
    run = [sys.executable, "-c", program, *reversed(CAPTIONS)]
    other = subprocess.run(run, capture_output=True, text=True, check=True).stdout  # another process, another order
    assert other == Tokenizer.train(CAPTIONS, size=512).to_json()


def test_mistakes_are_one_line(tokenizer: Tokenizer, tmp_path: pytest.TempPathFactory) -> None:
    with pytest.raises(DataError, match="no vocabulary at"):
        Tokenizer.load(tmp_path / "absent.json")
    with pytest.raises(DataError, match="not a vocabulary"):
        Tokenizer.from_json("{}").encode(["a"], length=4)
    with pytest.raises(DataError, match=str(SMALLEST)):
        Tokenizer.train(CAPTIONS, size=100)
    with pytest.raises(DataError, match="takes"):
        tokenizer.to_tensor(length=100)
    with pytest.raises(DataError, match="has no vocabulary"):
        Tokenizer.from_tensor(torch.zeros(100, dtype=torch.uint8))
