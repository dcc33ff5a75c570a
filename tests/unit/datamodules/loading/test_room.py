from __future__ import annotations

import gc
import mmap
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from datamodules.loading.room import STEP, Room, by_value, plain

TENSORS = [
    torch.arange(6).reshape(2, 3).T,
    torch.ones(3, dtype=torch.bfloat16),
    torch.tensor(True),
    torch.zeros(0, 4),
    torch.arange(STEP, dtype=torch.uint8),
]


@contextmanager
def pair() -> Iterator[tuple[Room, Room]]:
    """A room as two processes have it."""
    mine, its = Room(), Room()
    its.file.close()
    its.file = os.fdopen(os.dup(mine.file.fileno()), "r+b", 0)
    yield mine, its
    mine.file.close()
    its.file.close()


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b) for a, b in zip(found, expected, strict=True)
    )


def test_tensors_arrive_as_they_were_and_the_room_is_free_when_all_are_gone() -> None:
    freed: list[int] = []
    with pair() as (mine, its):
        for turn in range(3):
            mine.begin()
            message = mine.packed({"tensors": TENSORS, "text": "x"})
            assert len(message) < 2000, "tensors are in the room"
            answer = its.opened(message, lambda turn=turn: freed.append(turn))
            assert answer["text"] == "x"
            assert same(answer["tensors"], TENSORS)
            part = answer["tensors"][4][5:9]
            del answer
            gc.collect()
            assert freed == list(range(turn)), "a view of one tensor keeps the room"
            assert part.tolist() == [5, 6, 7, 8]
            del part
            assert freed == list(range(turn + 1))


def test_what_is_written_in_the_room_is_not_copied_and_stays_when_it_grows() -> None:
    with pair() as (mine, its):
        mine.begin()
        first = mine.empty((5,), dtype=torch.int64)
        large = mine.empty((3 * STEP,), dtype=torch.float32)
        first[:], large[:] = 7, 1.5
        found = its.opened(mine.packed((first, large)), int)
        assert same(list(found), [first, large])
        first[0] = 9
        assert found[0].tolist() == [9, 7, 7, 7, 7], "one memory"


def test_memory_that_a_room_has_outgrown_is_not_taken_for_it() -> None:
    with pair() as (mine, its):
        mine.begin()
        first = mine.empty((STEP,), dtype=torch.uint8)
        place = first.data_ptr()
        del first
        large = mine.empty((8 * STEP,), dtype=torch.uint8).fill_(2)
        others = [torch.frombuffer(mmap.mmap(-1, STEP), dtype=torch.uint8).fill_(3) for _ in range(8)]
        assert place not in [other.data_ptr() for other in others], "it is known, and given to no other"
        assert same(its.opened(mine.packed([large, *others]), int), [large, *others])


@pytest.mark.parametrize("before", [0, 1])
def test_where_the_system_refuses_memory_tensors_go_by_value(before: int) -> None:
    freed: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pair() as (mine, its):
        mine.begin()
        sent = [mine.empty((10,), dtype=torch.uint8).fill_(1) for _ in range(before)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * STEP, limits[1]))
        try:
            sent.append(mine.empty((5 * STEP,), dtype=torch.uint8).fill_(2))
            sent.append(mine.empty((10,), dtype=torch.uint8).fill_(3))
            message = mine.packed(sent)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert same(its.opened(message, lambda: freed.append(1)), sent)
        assert freed == [1]
        mine.begin()
        assert same(its.opened(mine.packed(TENSORS), int), TENSORS), "the next answer finds its room"


def test_tensors_without_a_room_go_by_value() -> None:
    import pickle

    found = pickle.loads(by_value(TENSORS))
    assert same(found, TENSORS)
    found[4][0] = 3
    assert TENSORS[4][0] == 0


@pytest.mark.parametrize("shape", [(2, 3), (0, 4), ()])
def test_empty_is_as_torch_s(shape: tuple[int, ...]) -> None:
    with pair() as (mine, _):
        mine.begin()
        for make in (mine.empty, plain):
            made = make(shape, dtype=torch.float16)
            assert (made.shape, made.dtype) == (shape, torch.float16)
