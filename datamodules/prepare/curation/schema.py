"""The format of a dataset: the columns of its tables. datamodules/prepare/curate.py says what they mean."""

from __future__ import annotations

from typing import Any

from datamodules.prepare.curation.scores import SCORES

FORMAT = 2
MAKING = ".making"  # folder of what is in the making


def index_schema() -> Any:
    """Columns of index/*.parquet."""
    import pyarrow as pa

    texts, whole, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            *[("key", texts), ("shard", whole), ("kind", texts), ("frames", whole), ("height", whole)],
            *[("width", whole), ("fps", real), ("seconds", real), ("source", texts), ("start_seconds", real)],
            *[("caption", texts), ("sha256", texts), ("media_name", texts), ("media_offset", whole)],
            *[("media_size", whole), ("json_name", texts), ("json_offset", whole), ("json_size", whole)],
            *[(name, real) for name in SCORES],
            ("hashes", pa.list_(pa.uint64())),
        ]
    )


def quarantine_schema() -> Any:
    """Columns of quarantine/*.parquet."""
    import pyarrow as pa

    times = [("start_seconds", pa.float64()), ("seconds", pa.float64())]
    return pa.schema([("source", pa.string()), ("reason", pa.string()), *times, ("thumbnail", pa.binary())])
