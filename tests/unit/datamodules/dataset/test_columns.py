from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from datamodules.dataset.columns import Texts, joined

WORDS = ["a", None, "ü", "a", ""]


def test_a_column_is_its_list() -> None:
    for made in (
        Texts(WORDS),
        Texts(pa.chunked_array([WORDS[:2], WORDS[2:]])),
        joined([Texts(WORDS[:1]), Texts(WORDS[1:])]),
    ):
        assert made == WORDS
        assert list(made) == made.to_list() == [made[np.int64(at)] for at in range(len(made))]
        assert made[1:3] == WORDS[1:3]
        assert made.known.tolist() == [word is not None for word in WORDS]
        assert made.take([4, 0, 0]) == ["", "a", "a"]
        assert pickle.loads(pickle.dumps(made)) == made


def test_rows_are_found_by_their_string() -> None:
    made = Texts(["x", "y", "x", "z"])
    assert (made.index("x"), made.index("x", 1)) == (0, 2)
    with pytest.raises(ValueError, match="in no row"):
        made.index("w")
    assert made.places(Texts(["z", "x"])).tolist() == [1, -1, 1, 0]
    codes, names = made.codes()
    assert [names[code] for code in codes] == made.to_list()
