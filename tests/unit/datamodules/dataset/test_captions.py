from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.clips import ClipData
from datamodules.dataset import index
from datamodules.dataset.captions import Captions, captions, weighted
from datamodules.dataset.columns import Texts
from datamodules.prepare.captions import write_sidecar
from dit_video.errors import ConfigError


def test_weights_dropout_and_fallback() -> None:
    made = Captions(
        texts={"source": Texts(["a", "b"]), "dense": Texts(["A", None])},
        weights={"source": 1.0, "dense": 3.0},
        dropout=0.2,
        seed=0,
    )
    drawn = [made.choose(0, stream=1, ordinal=at) for at in range(4000)]
    shares = [drawn.count(text) / 4000 for text in ("", "a", "A")]
    assert np.allclose(shares, [0.2, 0.2, 0.6], atol=0.03)
    assert {made.choose(1, stream=1, ordinal=at) for at in range(200)} == {"", "b"}
    assert drawn == [made.choose(0, stream=1, ordinal=at) for at in range(4000)]
    only = Captions(texts={"dense": Texts(["A", None])}, weights={"dense": 1.0}, dropout=0.0, seed=0)
    assert only.known.tolist() == [True, False]
    assert made.known.tolist() == [True, True]


@pytest.mark.parametrize(("weights", "dropout"), [({}, 0.0), ({"source": 0.0}, 0.0), ({"source": 1.0}, 2.0)])
def test_senseless_weights_are_refused(finished: Path, weights: dict[str, float], dropout: float) -> None:
    with pytest.raises(ConfigError, match="datamodules"):
        captions(index.load(finished), weights=weights, dropout=dropout, seed=0)


def test_a_run_is_not_resumed_with_captions_made_anew(dataset: Path) -> None:
    def fingerprint() -> str:
        return ClipData(dataset=str(dataset), captions={"dense": 1.0, "source": 0.1}).fingerprint

    keys, plain = index.load(dataset).key[:5], ClipData(dataset=str(dataset)).fingerprint
    prints = []
    for text in ("red", "blue"):
        write_sidecar(dataset, "dense", shard=0, keys=keys, texts=[text] * 5, model="test")
        prints.append(fingerprint())
    assert prints[0] != prints[1]
    assert ClipData(dataset=str(dataset)).fingerprint == plain


def test_weighted_shares() -> None:
    drawn = [weighted([1, 0, 3], level) for level in np.arange(0, 1, 0.01)]
    assert (drawn.count(0), drawn.count(1), drawn.count(2)) == (25, 0, 75)
    assert weighted([1, 1], 0.9999999999) == 1
