"""step=captions: a table of captions becomes the sidecar captions/NAME of a dataset."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datamodules.dataset import index
from datamodules.prepare import rows, store
from datamodules.prepare.curation.sources import clean_caption
from dit_video import log
from dit_video.errors import ConfigError, DataError


def sidecar_schema() -> Any:
    """Columns of captions/NAME/*.parquet."""
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in ("key", "text", "model", "created")])


def check_name(name: str, *taken: str | None) -> None:
    """ConfigError for a name that no captions can have."""
    if name in {"source", *taken} or not name.replace("-", "").replace("_", "").isalnum():
        others = "".join(f" and not {other!r}" for other in taken if other)
        raise ConfigError(f"name={name} cannot name captions; use letters and digits, not 'source'{others}")


def write_sidecar(
    dataset: str | Path,
    name: str,
    *,
    shard: int,
    keys: Sequence[str],
    texts: Sequence[str],
    model: str,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write the captions of one shard's samples (those that have one) as captions/NAME/SHARD.parquet."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    listed = [
        {"key": key, "text": clean_caption(text), "model": model, "created": created}
        for key, text in zip(keys, texts, strict=True)
    ]
    path = rows.table(Path(dataset) / "captions" / name, shard)
    store.write_table(path, listed, schema=sidecar_schema(), metadata=about)


def table(path: Path) -> dict[str, str]:
    """Captions by the text of the column `file`."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            if not {"file", "caption"} <= set(columns):
                raise DataError(f"{path} must have the columns file,caption; it has {','.join(columns) or 'none'}")
            return {Path(row["file"] or "").as_posix(): row["caption"] or "" for row in reader}
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read captions_csv={path}: {error}") from error


def match(captions: Mapping[str, str], sources: Sequence[str]) -> dict[str, str]:
    """Captions by source; a `file` may have folders before the source's own path."""
    found = {source: captions[source] for source in set(sources) if source in captions}
    rest = set(sources) - set(found)
    for file, caption in captions.items():
        parts = file.split("/")
        tails = ("/".join(parts[at:]) for at in range(1, len(parts)))
        found |= {tail: caption for tail in tails if tail in rest}
    return found


def captions(*, dataset: str, captions_csv: str, name: str, part: str = "0/1") -> None:
    """Import the captions of a table with columns file,caption for the clips of the sources it lists.

    Args:
        dataset: folder of a curated dataset.
        captions_csv: the table; `file` is relative to the folder that was curated.
        name: name of the sidecar; `source` is taken by the captions in the index.
        part: i/n does the shards with number % n == i alone.
    """
    check_name(name)
    found = rows.load(dataset)
    codes, sources = found.source.codes()
    texts = match(table(Path(captions_csv)), sources.to_list())
    if not texts:
        raise DataError(f"captions_csv={captions_csv} names none of the files of {dataset}, such as {found.source[0]}")
    matched = [texts.get(source) for source in sources.to_list()]
    model, count = f"csv:{Path(captions_csv).name}", 0
    shards = store.share(part, [*range(index.shards_of(found)[0])])
    for shard in log.progress(shards, what="captions", total=len(shards), unit="shard"):
        written = {row: text for row in rows.of_shard(found, shard) if (text := matched[codes[row]]) is not None}
        keys = [found.key[row] for row in written]
        write_sidecar(
            rows.home(found),
            name,
            shard=shard,
            keys=keys,
            texts=[*written.values()],
            model=model,
            about=rows.about(found, {}),
        )
        count += len(written)
    log.say(f"{count} of {len(found)} samples captioned -> {rows.home(found) / 'captions' / name}")
