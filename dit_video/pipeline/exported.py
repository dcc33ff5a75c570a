"""What dit_video.export has written, in the place of a run: weights and settings of safetensors files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Files by the name of each tensor, and what their headers say."""

    path: Path
    places: dict[str, Path]
    about: dict[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run, as far as they were exported."""
        return dict(self.json("config"))

    def json(self, key: str) -> dict[str, Any]:
        """An entry of the header; CheckpointError where it is none of ours."""
        try:
            found = json.loads(self.about[key])
        except (KeyError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.path} says nothing of its {key}; expected what dit_video.export has written")
        return found

    def weights(self, *, ema: bool) -> dict[str, Tensor]:
        """All tensors; CheckpointError where raw ones are asked for and these are averages."""
        from safetensors import safe_open

        if not ema and self.about.get("weights") == "ema":
            raise CheckpointError(f"{self.path} has averaged weights; leave ema=false out, or export with weights=raw")
        found: dict[str, Tensor] = {}
        for file in sorted(set(self.places.values())):
            with safe_open(file, framework="pt") as opened:
                found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
        return found


def is_exported(path: Path) -> bool:
    """Whether a path is to be one of safetensors rather than of a run."""
    return path.suffix == SUFFIX or path.name.endswith(f"{SUFFIX}.index.json")


def read(path: Path) -> Exported:
    """Open FILE.safetensors, or FILE.safetensors.index.json; CheckpointError where that cannot be."""
    from safetensors import SafetensorError, safe_open

    index = path if path.suffix == ".json" else path.with_name(f"{path.name}.index.json")
    try:
        files = [path]
        if not path.is_file() or path == index:
            listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            files = [index.with_name(Path(name).name) for name in sorted(set(listed))]
        places: dict[str, Path] = {}
        headers: list[dict[str, str]] = []
        for file in files:
            with safe_open(file, framework="pt") as opened:
                places |= dict.fromkeys(opened.keys(), file)
                headers.append(opened.metadata() or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); expected what dit_video.export has written") from error
    if any(header != headers[0] for header in headers):
        raise CheckpointError(f"the files of {path} are of several exports; export again")
    return Exported(path=path, places=places, about=headers[0] if headers else {})
