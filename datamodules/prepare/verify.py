"""step=verify: every byte of a dataset is read and held against the hashes that were written with it.

- A tar is read once, from the first byte to the last, whatever the index says of its members: so corrupt headers, which
  reading by index never touches, are found too.
- What can be said of a damaged tar is said by member, so that one knows which samples training will give weight 0.
- Tables have checksums in their pages; those of the index together have a hash in dataset.json.
- Nothing is changed. Exit code 1 where anything is damaged.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from datamodules.dataset import index
from datamodules.files import storage
from datamodules.files.storage import DamagedError, MissingError
from datamodules.prepare import store
from datamodules.prepare.workers import cores
from dit_video import log
from dit_video.errors import DataError

if TYPE_CHECKING:
    import pyarrow

DAMAGED = 1  # exit code
PIECE = 2**22  # bytes read at once past the last member


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written: a file of the dataset, in it a member if it is one, and how."""

    file: str
    member: str
    kind: str

    def __str__(self) -> str:
        return f"{self.file} {self.member or '-'} {self.kind}"


@dataclass(frozen=True)
class Expected:
    """A member of a tar as the index has it; the index has no hash of the JSON beside a clip."""

    name: str
    offset: int
    size: int
    sha256: str | None


class Reader:
    """Reads a file once through, and hashes all of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.at, self.hash = file, 0, hashlib.sha256()

    def take(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        data = self.file.read(size)
        self.hash.update(data)
        self.at += len(data)
        return data

    def finish(self) -> str:
        """Read what is left; the hash of the whole file."""
        while self.take(PIECE):
            pass
        return self.hash.hexdigest()


def verify(*, dataset: str, name: str | None = None, workers: int | None = None, part: str | None = None) -> None:
    """Read a dataset with its sidecars and list what is damaged; exit code 1 if anything is.

    Args:
        dataset: folder or URL of a curated dataset.
        name: a sidecar alone, as KIND/NAME, such as latents/vae; by default the clips, and all sidecars of a folder.
        workers: shards read at once; by default one a core.
        part: i/n for the shards with number % n == i, for one of n jobs; the first looks at the index as a whole too.
    """
    about = index.describe(dataset)
    shards = store.share(part, range(int(about["shards"])))
    known = sidecars(dataset) if storage.is_local(dataset) else None
    if name and known is not None and name not in known:
        raise DataError(f"{dataset} has no sidecar name={name}; it has {', '.join(known) or 'none'}")
    if not name and known is None:
        log.say("sidecars of a URL are verified one by one, by name=KIND/NAME")
    kinds = [name] if name else ["clips", "quarantine", *(known or ())]
    log.say(f"verifying {', '.join(kinds)} of {dataset}: {len(shards)} shards")
    tasks = [(kind, shard) for kind in kinds for shard in shards]
    found = whole(dataset, about) if 0 in shards and not name else []
    with ThreadPoolExecutor(workers or cores()) as pool:
        results = pool.map(partial(check, dataset, str(about["fingerprint"])), tasks)
        for damaged in log.progress(results, what="verify", total=len(tasks), unit="shard"):
            found += damaged
    for damage in found:
        log.say(str(damage))
    if found:
        files, members = {damage.file for damage in found}, {damage.member for damage in found if damage.member}
        log.say(f"DAMAGED: {len(files)} files, {len(members)} members of them -> bring back the files named above")
        raise SystemExit(DAMAGED)
    log.say(f"all is as it was written -> {dataset}")


def sidecars(dataset: str) -> list[str]:
    """Sidecars of a dataset on this machine, as KIND/NAME; those of a URL cannot be listed."""
    folder = storage.local(dataset)
    return sorted({path.parent.relative_to(folder).as_posix() for path in folder.glob("*/*/[0-9]*.parquet")})


def whole(dataset: str, about: dict[str, Any]) -> list[Damage]:
    """What can be told of all index tables together only: they are those that dataset.json counts and hashes."""
    digest, rows, tars = hashlib.sha256(), 0, []
    for number in range(int(about["shards"])):
        data = storage.fetch([storage.Span(storage.join(dataset, "index", f"{number:06d}.parquet"))])[0]
        if isinstance(data, DamagedError):
            return []  # told with its shard
        digest.update(data)
        try:
            table = read_table(data)
        except DataError:
            return []
        rows += table.num_rows
        tars.append(metadata(table).get("tar_sha256", ""))
    found = [
        (about.get("index_sha256", digest.hexdigest()) == digest.hexdigest(), "index", "changed"),
        (about["samples"] == rows, "dataset.json", f"counts {about['samples']} samples, the index has {rows}"),
        (about["fingerprint"] == hashlib.sha256("".join(tars).encode()).hexdigest(), "dataset.json", "of other shards"),
    ]
    return [Damage(file, "", kind) for sound, file, kind in found if not sound]


def check(dataset: str, fingerprint: str, task: tuple[str, int]) -> list[Damage]:
    """What is damaged of one shard of the clips or a sidecar: its table, or else the tar that it describes."""
    kind, number = task
    file = f"{'index' if kind == 'clips' else kind}/{number:06d}.parquet"
    try:
        table = read_table(storage.read(storage.join(dataset, file)))
    except MissingError:
        return [Damage(file, "", "missing: lost, or not made yet")]
    except DataError as error:
        return [Damage(file, "", f"unreadable: {error}")]
    about = metadata(table)
    if kind != "clips" and about.get(store.FINGERPRINT, fingerprint) != fingerprint:
        return [Damage(file, "", "made for another dataset")]
    if "tar_sha256" not in about:
        return []
    tar = f"{kind}/{number:06d}.tar"
    try:
        with storage.stream(storage.join(dataset, tar)) as stream:
            return [Damage(tar, *found) for found in compare(Reader(stream), members(table), about["tar_sha256"])]
    except MissingError:
        return [Damage(tar, "", "missing")]
    except OSError as error:
        return [Damage(tar, "", f"unreadable: {error.strerror}")]


def read_table(data: bytes) -> pyarrow.Table:
    """A table whose checksums are right; DataError where they are not."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data), page_checksum_verification=True)
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(" ".join(str(error).split())) from error
    return table


def metadata(table: pyarrow.Table) -> dict[str, str]:
    """What was written of a table."""
    known = table.schema.metadata or {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in known.items()}


def members(table: pyarrow.Table) -> list[Expected]:
    """Members of the tar that a table describes, in the order of their bytes."""
    found: list[Expected] = []
    for row in table.to_pylist():
        if "media_name" in row:
            media, beside = (f"{row['key']}.{row[column]}" for column in ("media_name", "json_name"))
            found.append(Expected(media, row["media_offset"], row["media_size"], row["sha256"]))
            found.append(Expected(beside, row["json_offset"], row["json_size"], None))
        else:
            found.append(Expected(f"{row['key']}.safetensors", row["offset"], row["size"], row["sha256"]))
    return sorted(found, key=lambda member: member.offset)


def compare(reader: Reader, expected: Sequence[Expected], sha256: str) -> Iterator[tuple[str, str]]:
    """Members that are damaged, and how; ("", how) where it is the file or none of them."""
    found: list[tuple[str, str]] = []
    first = b""
    for member in expected:
        gap = reader.take(max(0, member.offset - reader.at))
        first = first or gap[: store.BLOCK]
        if kind := wrong(member, reader.take(member.size), header=gap[-store.BLOCK :]):
            found.append((member.name, kind))
    if reader.finish() == sha256 and not found:
        return
    lost = {name for name, kind in found if kind == "changed"}
    if not reader.at:
        yield "", "empty"
    elif named(first) is not None and lost >= {member.name for member in expected if member.sha256} != set():
        yield "", "another tar, or changed since it was indexed"
    elif found:
        yield from found
    else:
        yield "", "bytes outside of the members differ"


def wrong(member: Expected, data: bytes, *, header: bytes) -> str | None:
    """How a member is damaged, if it is."""
    if len(data) < member.size:
        return "cut off"
    if member.sha256 is None:
        try:
            json.loads(data)
        except ValueError:
            return "changed"
    elif hashlib.sha256(data).hexdigest() != member.sha256:
        return "changed"
    return None if named(header) == (member.name, member.size) else "corrupt header"


def named(header: bytes) -> tuple[str, int] | None:
    """Name and size in the header of a tar's member; None where its checksum is wrong."""
    try:
        about = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return about.name, about.size
