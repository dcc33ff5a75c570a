"""What one source gave, kept on disk until its shard is whole.

So a shard that is interrupted, or whose process crashes over a file, does not begin again: only that file is lost.
A part stands where its JSON stands, which is written last, and the media are those it has the hashes of: after a loss
of power a file may have its name and not its bytes.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datamodules.prepare.curation.clip import Dropped, Found, Sample
from datamodules.prepare.store import sha256

NONE = float("nan")


def refused(reason: str, thumbnail: bytes | None) -> Found:
    """A source that gave nothing: one piece without a time."""
    return Found(samples=[], dropped=[Dropped(reason=reason, start_seconds=NONE, seconds=NONE, thumbnail=thumbnail)])


def whole(piece: Dropped) -> bool:
    """Whether a piece is a whole file."""
    return math.isnan(piece.seconds)


def save(place: Path, found: Found) -> None:
    """Keep what a source gave at `place`.json and, for the media, `place`.0, `place`.1 and so on."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for at, sample in enumerate(found.samples):
        place.with_name(f"{place.name}.{at}").write_bytes(sample.media)
    samples = [
        {"suffix": each.suffix, "sha256": sha256(each.media), "row": each.row, "scores": each.scores}
        for each in found.samples
    ]
    dropped: list[dict[str, Any]] = []
    for piece in found.dropped:
        picture = None if piece.thumbnail is None else base64.b64encode(piece.thumbnail).decode()
        dropped.append(asdict(piece) | {"thumbnail": picture})
    temporary = place.with_name(f"{place.name}.tmp")
    temporary.write_text(json.dumps({"samples": samples, "dropped": dropped}), encoding="utf-8")
    temporary.replace(place.with_name(f"{place.name}.json"))


def load(place: Path) -> Found | None:
    """What `save` kept, or None where there is none, or a torn one."""
    try:
        kept = json.loads(place.with_name(f"{place.name}.json").read_text(encoding="utf-8"))
        samples = [
            Sample(media=sound(place.with_name(f"{place.name}.{at}"), each.pop("sha256")), **each)
            for at, each in enumerate(kept["samples"])
        ]
    except (OSError, ValueError, KeyError):
        return None
    dropped = [
        Dropped(**each | {"thumbnail": None if each["thumbnail"] is None else base64.b64decode(each["thumbnail"])})
        for each in kept["dropped"]
    ]
    return Found(samples=samples, dropped=dropped)


def sound(path: Path, expected: str) -> bytes:
    """The bytes of a file; ValueError where they are not those of the hash."""
    data = path.read_bytes()
    if sha256(data) != expected:
        raise ValueError(f"{path} is torn")
    return data
