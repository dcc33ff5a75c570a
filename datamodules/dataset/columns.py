"""A column of strings that a million rows, and processes that fork, can afford: kept by arrow, read one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Texts(Sequence[Any]):
    """Strings by row, None where a row has none.

    Python's own strings would take three times the memory, and be copied in every loader process as soon as it counts
    references to them.
    """

    def __init__(self, values: Any) -> None:
        import pyarrow as pa

        if isinstance(values, pa.ChunkedArray):
            values = values.cast(pa.large_string()).combine_chunks()
        elif not isinstance(values, pa.Array):
            values = pa.array(values, pa.large_string())
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return self.values[row].to_pylist()
        return self.values[int(row)].as_py()

    def __eq__(self, other: object) -> bool:
        return self.to_list() == (other.to_list() if isinstance(other, Texts) else other)

    __hash__ = None  # type: ignore[assignment]

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The first row that holds `value`; ValueError where none does."""
        import pyarrow.compute as pc

        found = int(pc.index(self.values[start:stop], value).as_py())
        if found < 0:
            raise ValueError(f"{value!r} is in no row")
        return start + found

    def to_list(self) -> list[Any]:
        """All of them as Python strings."""
        return list(self.values.to_pylist())

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Texts:
        """The rows asked for, in their order."""
        return Texts(self.values.take(np.asarray(rows, dtype=np.int64)))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a string."""
        return np.asarray(self.values.is_valid())

    def codes(self) -> tuple[NDArray[np.int64], Texts]:
        """A number for every row, equal for equal strings, and the string of each number."""
        encoded = self.values.dictionary_encode()
        return np.asarray(encoded.indices).astype(np.int64), Texts(encoded.dictionary)

    def places(self, keys: Texts) -> NDArray[np.int64]:
        """For every row, where its string stands in `keys`; -1 where it does not."""
        import pyarrow.compute as pc

        found = pc.index_in(self.values, value_set=keys.values)
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)


def joined(parts: Iterable[Texts]) -> Texts:
    """Columns one after the other."""
    import pyarrow as pa

    return Texts(pa.chunked_array([part.values for part in parts]))
