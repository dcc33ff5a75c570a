"""Videos and pictures inside the report, in sheets."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video.page.document import note
from dit_video.page.media import Medium

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 24  # samples of a row
PAIRS = 15  # of these when each stands beside what was given
ALONE, PAIRED = (128, 288), (96, 272)  # pixels of the page for the short side of tiny videos, the long side of others
SPREAD = 230  # narrower tiles spread over the whole width
GRID = 4  # sizes with fewer tiles get no grid of their own

TITLES = {
    "square": "Square",
    "wide": "Wide",
    "tall": "Tall",
    "image_to_video": "Image to video",
    "forward": "Extended forward",
    "backward": "Extended backward",
    "samples": "Text to video",
}
NOTES = {
    "image_to_video": "left the given picture, right the video made from it",
    "forward": "left the given frames, right the video that goes on from them",
    "backward": "left the given frames, right the video that leads up to them",
}


def find(folder: Path, name: object) -> Path | None:
    """The file of a name relative to the report's folder, or else to the folder the commands ran in."""
    if not isinstance(name, str) or not name:
        return None
    return next((path for path in (folder / name, Path(name)) if path.is_file()), None)


def sample(folder: Path, name: str) -> Path:
    """The sampled video of a request's name, which may end in .mp4."""
    return folder / "samples" / (name if name.endswith(".mp4") else f"{name}.mp4")


@dataclass(frozen=True)
class Tile:
    """A figure of a sheet: HTML, its width on the page and the native (height, width) of what it shows."""

    html: str
    width: int
    size: tuple[int, int]


def tile(media: Sequence[Medium | None], caption: str, *, label: str, step: bool = False) -> Tile:
    """One medium, or two side by side, over a caption (HTML); with `step` they play in step."""
    room = ALONE if len(media) == 1 else PAIRED
    known = next((medium for medium in media if medium), None)
    wide, tall, _ = known.shown(room) if known else (room[0], room[0], False)
    lost = f'<div class="lost" style="width:{wide}px;height:{tall}px">missing</div>'
    screens = "".join(medium.tag(label, room) if medium else lost for medium in media)
    width = sum(medium.shown(room)[0] if medium else wide for medium in media) + 3 * (len(media) - 1)
    html = (
        f'<figure style="width:{width}px"><div class="screen{" step" if step else ""}">{screens}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )
    return Tile(html, width, (known.height, known.width) if known else (0, 0))


def sheet(tiles: Sequence[Tile]) -> str:
    """A grid for each native size: square, tall, wide. Where a size has few tiles, all in one, row after row."""
    sizes = sorted({t.size for t in tiles}, key=lambda size: (size[0] != size[1], size[0] < size[1], size))
    known = [size for size in sizes if size != (0, 0)]
    counts = [sum(t.size == size for t in tiles) for size in known]
    if not known or (len(known) > 1 and min(counts) < GRID):
        return f'<div class="sheet">{"".join(t.html for t in tiles)}</div>'
    grids = []
    for size in known:
        part = [t for t in tiles if t.size == size]
        part += [t for t in tiles if t.size == (0, 0)] if size == known[-1] else []
        wide = part[0].width
        column = f"minmax({wide}px,1fr)" if wide < SPREAD else f"{wide}px"
        columns = f"grid-template-columns:repeat(auto-fill,{column})"
        grids.append(f'<div class="sheet grid" style="{columns}">{"".join(t.html for t in part)}</div>')
    return "".join(grids)


def judged(name: str, verdicts: Mapping[str, Mapping[str, bool]]) -> tuple[str, bool | None]:
    """A mark for a sample, with what is wrong, and whether all is right (None without a verdict)."""
    verdict = verdicts.get(name, verdicts.get(name.removesuffix(".mp4")))
    if not verdict:
        return "", None
    wrong = [key.replace("_", " ") for key, right in verdict.items() if not right and key != "all"]
    if not wrong and verdict.get("all", True):
        return '<span class="right" title="all attributes right">✓</span> ', True
    return f'<span class="wrong">✗ {escape(", ".join(wrong) or "together")}</span><br>', False


def row(
    folder: Path, name: str, requests: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Mapping[str, bool]]
) -> str:
    """A row's heading and the sheet of its first samples, unselected."""
    given = [find(folder, line.get("image") or line.get("video")) for line in requests]
    beside = any(line.get("image") or line.get("video") for line in requests)
    most = PAIRS if beside else SHOWN
    tiles = []
    for line, start in list(zip(requests, given, strict=True))[:most]:
        prompt = str(line.get("prompt", ""))
        made = Medium.load(sample(folder, str(line["name"])))
        mark, _ = judged(str(line["name"]), verdicts)
        held = '<span class="tag">held out</span> ' if line.get("held_out") else ""
        media = [Medium.load(start), made] if beside else [made]
        tiles.append(tile(media, f"{mark}{held}{escape(prompt)}", label=prompt))
    return f"<h3>{heading(name, requests, verdicts, most=most)}</h3>{sheet(tiles)}"


def heading(
    name: str, requests: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Mapping[str, bool]], *, most: int
) -> str:
    """What a row shows, how much of it, and how much of all of it is right."""
    sizes = {str(line["size"]).replace("x", " × ") for line in requests if line.get("size")}
    rights = [right for line in requests if (right := judged(str(line["name"]), verdicts)[1]) is not None]
    facts = [next(iter(sizes))] if len(sizes) == 1 else []
    facts.append(f"the first {most} of {len(requests)}, unselected" if len(requests) > most else f"all {len(requests)}")
    if rights:
        facts.append(f"all attributes right in {sum(rights)} of {len(rights)}")
    if name in NOTES:
        facts.append(NOTES[name])
    return f"{escape(TITLES.get(name, name.replace('_', ' ').capitalize()))}<small>{escape(' · '.join(facts))}</small>"


def samples(folder: Path, requests: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Mapping[str, bool]]) -> str:
    """A sheet for every row, in the order of the requests."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for line in requests:
        if "name" in line:
            rows.setdefault(str(line.get("row", "samples")), []).append(line)
    parts = [row(folder, name, lines, verdicts) for name, lines in rows.items()]
    if verdicts:
        parts.insert(
            0,
            note(
                "✓ marks a video whose every attribute the checker confirms, ✗ names what it does not. "
                "Held-out combinations of colour, shape and ground were never trained on."
            ),
        )
    return "".join(parts)


def reconstructions(folder: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Originals beside what the autoencoder gives back, playing in step."""
    tiles = []
    for line in rows:
        if not (line.get("original") or line.get("reconstruction")):
            continue
        media = [Medium.load(find(folder, line.get(side))) for side in ("original", "reconstruction")]
        decibel = line.get("psnr_db")
        source = str(line.get("source") or line.get("key", ""))
        figure = f"<b>{decibel:.1f} dB</b> " if isinstance(decibel, int | float) else ""
        tiles.append(tile(media, figure + escape(source), label=source, step=True))
    return sheet(tiles) if tiles else ""
