"""What was derived from the dataset since: latents, captions, scores, and whether each is whole."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from datamodules.dataset import index
from datamodules.files import storage
from datamodules.report.figures import count, volume
from datamodules.report.tables import entries, sidecar_names
from dit_video.errors import DataError
from dit_video.page.document import absent, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from datamodules.report.tables import Dataset

KINDS = {
    "captions": "step=recaption or step=captions",
    "scores": "the same step",
    "latents": "step=encode",
    "text": "the same step",
}
RECIPE = 8  # entries of a recipe that are shown
LONGEST = 90  # characters of one


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """A sidecar: how many of the dataset's shards it has, its bytes, and the recipe it was made by."""

    name: str
    shards: int
    bytes: int
    recipe: Mapping[str, Any]
    stale: bool = False

    @property
    def kind(self) -> str:
        """The folder it lies in."""
        return self.name.split("/")[0]


def find(dataset: Dataset) -> list[Sidecar]:
    """All sidecars of a dataset."""
    return [one(dataset, f"{kind}/{name}") for kind in KINDS for name in sidecar_names(dataset.folder, kind)]


def one(dataset: Dataset, name: str) -> Sidecar:
    """A sidecar by its folder."""
    folder = storage.join(dataset.folder, name)
    files = {file: size for file, is_folder, size in entries(folder) if not is_folder}
    path = storage.join(folder, "recipe.json")
    try:
        recipe = index.record(path, mend="make it again") if storage.exists(path) else {}
    except DataError as error:
        recipe = {"damaged": str(error)}
    of = str(recipe.get("dataset_fingerprint", dataset.about["fingerprint"]))
    return Sidecar(
        name=name,
        shards=sum(f"{shard:06d}.parquet" in files for shard in range(dataset.shards)),
        bytes=sum(files.values()),
        recipe=recipe,
        stale=of != str(dataset.about["fingerprint"]),
    )


def listed(dataset: Dataset, found: Sequence[Sidecar]) -> str:
    """A table of the sidecars."""
    if not found:
        return absent(
            "None yet. Latents are made with: "
            f"python -m datamodules.prepare step=encode dataset={dataset.folder} vae=RUN name=NAME"
        )
    lines = []
    for item in found:
        state = (
            '<span class="right">whole</span>'
            if item.shards == dataset.shards
            else f'<span class="wrong">lacks {count(dataset.shards - item.shards)}</span>'
        )
        state += '<br><span class="wrong">of another dataset</span>' if item.stale else ""
        recipe = "".join(f"<span>{escape(text)}</span>" for text in told(item.recipe))
        lines.append(
            f'<tr><td class="name">{escape(item.name)}</td>'
            f'<td class="n">{count(item.shards)} of {count(dataset.shards)}</td><td>{state}</td>'
            f'<td class="n">{volume(item.bytes)}</td><td class="soft names">{recipe}</td></tr>'
        )
    return (
        note("A sidecar that lacks shards is finished by the command that began it.")
        + '<div class="scroll"><table class="listed wide"><thead><tr><th>name</th><th class="n">shards</th><th></th>'
        f'<th class="n">size</th><th>recipe</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def told(recipe: Mapping[str, Any]) -> list[str]:
    """Entries of a recipe as key=value."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    texts = [f"{key}={value}" for key, value in flat.items() if value is not None]
    cut = [text if len(text) <= LONGEST else text[: LONGEST - 1] + "…" for text in texts]
    return cut[:RECIPE] + ([f"and {len(cut) - RECIPE} more"] if len(cut) > RECIPE else [])
