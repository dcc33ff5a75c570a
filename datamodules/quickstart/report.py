"""The report of a quickstart: one page, without any file or request beside it, of what was run and what came of it.

`build` reads what the stages left in a folder. Whatever is missing or damaged, its section says so and the rest stands:
a run on the user's own footage has no checker, and a run that is not through yet has only its first figures.
"""

from __future__ import annotations

import json
import math
from difflib import SequenceMatcher
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.quickstart import sheets
from datamodules.quickstart.curves import training
from dit_video.page import plots
from dit_video.page.document import Section, absent, document, duration, note
from dit_video.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ATTRIBUTES = ("things", "colour", "shape", "size", "motion", "ground", "in_frame", "all")
ROWS = {  # where a row of the checker's table lies in the results, its name, and whether a group starts with it
    "checker.in_distribution": ("Trained combinations", False),
    "checker.held_out": ("Held-out combinations", False),
    "checker.square": ("Square", True),
    "checker.wide": ("Wide", False),
    "checker.tall": ("Tall", False),
    "image_to_video": ("Image to video", True),
    "extension.forward": ("Extended forward", False),
    "extension.backward": ("Extended backward", False),
}
HEADLINE = (  # place in the results, name, kind, goal
    ("checker.in_distribution.all", "Trained combinations", "share", 0.9),
    ("checker.held_out.all", "Held-out combinations", "share", 0.75),
    ("vae.psnr_db", "Autoencoder PSNR", "dB", 32.0),
    ("recaptioner.attributes", "Caption attributes", "share", 0.95),
    ("seconds_total", "All stages", "time", None),
    ("peak_memory_gb", "Peak memory", "GB", None),
)
CAPTIONS, WRONG = 12, 4  # shown, drawn by chance; and wrong ones after them
SPREAD = 12  # values from which on a plot says more than the figures themselves
PLAIN = frozenset(["a", "an", "and", "the", "of", "on", "to", "in", "is", "are", "at", "with", "by", "from", "for"])


def build(folder: Path) -> Path:
    """Write report.html from the files in `folder`, and return its path."""
    results = dict_of(load(folder / "results.json"))
    stages = list_of(load(folder / "stages.json"))
    requests = load_lines(folder / "requests.jsonl")
    verdicts = {name: row for name, row in dict_of(load(folder / "verdicts.json")).items() if isinstance(row, dict)}
    own = bool(results) and "checker" not in results
    sections = [] if own else [Section("checker", "The checker’s verdict", table(results))]
    videos = sheets.samples(folder, requests, verdicts) or absent(
        "No videos were asked for yet: requests.jsonl is missing."
    )
    sections += [
        Section("samples", "Sampled videos", videos),
        Section(
            "vae", "Autoencoder", autoencoder(folder, list_of(load(folder / "vae.json")), goal=None if own else 32.0)
        ),
        Section("captions", "Captions, before and after", captions(list_of(load(folder / "captions.json")), results)),
        Section("training", "Training", training(folder)),
        Section("commands", "Commands and time", commands(stages)),
    ]
    title = "dit-video on your own footage" if own else "dit-video quickstart"
    page = folder / "report.html"
    page.write_text(document(title, head(title, results, stages), sections), encoding="utf-8")
    return page


def load(path: Path) -> Any:
    """A JSON file, or None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def load_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON a line; lines that are none are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value | dict_of(value.pop("about", None)))
    return found


def dict_of(value: Any) -> dict[str, Any]:
    """The value where it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[dict[str, Any]]:
    """The dicts of a list, none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def at(results: Any, place: str) -> Any:
    """What lies at a dotted place, or None."""
    for key in place.split("."):
        results = results.get(key) if isinstance(results, dict) else None
    return results


def number(value: Any) -> float | None:
    """A finite number, or None."""
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if real else None


def figure(value: float, kind: str) -> str:
    """A figure as people read it, its units in small."""
    if kind == "share":
        return f"{100 * value:.1f} <small>% right</small>"
    if kind == "time":
        parts = duration(value).split()
        return " ".join(f"<small>{part}</small>" if part.isalpha() else part for part in parts)
    return f"{value:.1f} <small>{kind}</small>"


def head(title: str, results: dict[str, Any], stages: Sequence[Mapping[str, Any]]) -> str:
    """The title, what this page is, and the figures that matter most."""
    made = f"by the {len(stages)} stages listed below" if stages else "by the commands of a quickstart"
    captioned = not stages or any("recaption" in str(stage.get("name")) for stage in stages)
    trained = "an autoencoder, a recaptioner and" if captioned else "an autoencoder and"
    told = (
        f"Videos{' and captions' if captioned else ''} in; {trained} a diffusion transformer trained from nothing; "
        f"videos out. All that is on this page was made {made}, on one machine."
    )
    cells = []
    for place, name, kind, goal in HEADLINE:
        value = number(at(results, place))
        if value is None:
            continue
        state = ""
        if goal is not None and "checker" in results:
            aim = f"{goal:.0%}".replace("%", " %") if kind == "share" else f"{goal:.0f} {kind}"
            state = f'<dd class="goal {"met" if value >= goal else "unmet"}">goal {aim}</dd>'
        cells.append(f"<div><dt>{escape(name)}</dt><dd>{figure(value, kind)}</dd>{state}</div>")
    strip = (
        f'<dl class="figures">{"".join(cells)}</dl>' if cells else absent("No figures yet: results.json is missing.")
    )
    return f'<h1>{escape(title)}</h1><p class="lede">{escape(told)}</p>{strip}'


def table(results: dict[str, Any]) -> str:
    """The share of videos in which the checker confirms each attribute."""
    rows = [(name, apart, row) for place, (name, apart) in ROWS.items() if dict_of(row := at(results, place)).get("n")]
    if not rows:
        return absent("No verdict yet: the checker runs after the stage “sample”.")
    names = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ATTRIBUTES)
    lines = []
    for name, apart, row in rows:
        cells = "".join(share(number(row.get(attribute)), last=attribute == "all") for attribute in ATTRIBUTES)
        kept = number(row.get("psnr_db"))
        trip = number(row.get("psnr_round_trip_db"))
        given = "" if kept is None else f"{kept:.1f}" + ("" if trip is None else f" ({trip:.1f})")
        start = f'<tr{" class=apart" if apart else ""}><td>{escape(name)}</td><td class="n">{int(row["n"])}</td>'
        lines.append(f"{start}{cells}<td>{given}</td></tr>")
    told = (
        "Percent of sampled videos in which each attribute is right. The checker looks at pixels alone and knows "
        "nothing of the models; “all” asks for every attribute at once. "
        "Frames that were given are not judged; the last column says how faithfully they are kept "
        "(in brackets: against their own round trip through the autoencoder)."
    )
    return (
        f'{note(told)}<div class="scroll"><table class="shares"><thead><tr><th></th><th>videos</th>{names}'
        f"<th>given, dB</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def share(value: float | None, *, last: bool) -> str:
    """A cell of the table, the redder the less is right."""
    if value is None:
        return "<td>–</td>"
    text = "100" if value == 1 else f"{math.floor(1000 * value + 0.5) / 10:.1f}"
    return f'<td class="share{" all" if last else ""}" style="--p:{value:.3f}">{text}</td>'


def autoencoder(folder: Path, rows: Sequence[Mapping[str, Any]], *, goal: float | None) -> str:
    """Originals beside reconstructions, and how the PSNR spreads over clips."""
    if not rows:
        return absent("No reconstructions yet: vae.json is missing.")
    values = np.array([value for row in rows if (value := number(row.get("psnr_db"))) is not None])
    told = (
        "Clips the autoencoder never saw: left the original, right what it gives back. "
        "The peak signal-to-noise ratio is of all frames of a clip; higher is closer."
    )
    parts = [note(told), sheets.reconstructions(folder, rows)]
    if len(values) >= SPREAD:
        spread = plots.dots(f"{len(values)} held-out clips and pictures", values, unit="PSNR, dB", goal=goal)
        parts.append(f'<div class="plots" style="margin-top:22px">{spread}</div>')
    return "".join(parts)


def captions(rows: Sequence[Mapping[str, Any]], results: dict[str, Any]) -> str:
    """Source captions beside dense ones: what was gained, and what is wrong where the truth is known."""
    rows = [row for row in rows if row.get("dense")]
    if not rows:
        return absent(
            "No dense captions: the folder has no captions to learn from, or the stage “recaption” has not run."
        )
    wrong = [row for row in rows if row.get("truth") and words(row["truth"]) != words(row["dense"])]
    count = min(len(rows), CAPTIONS)
    picked = [rows[place] for place in sorted(rng(0, "report").choice(len(rows), count, replace=False))]
    picked += [row for row in wrong if row not in picked][:WRONG]
    told = "The words in blue are what a dense caption adds to the source caption."
    if any(row.get("truth") for row in rows):
        told += f" Of {len(rows)}, {len(wrong)} differ from the truth: their wrong words are underlined."
    shares = dict_of(results.get("recaptioner"))
    listed = [(name, number(shares.get(name))) for name in ATTRIBUTES]
    line = ", ".join(
        f"{name.replace('_', ' ')} {100 * value:.1f}\u00a0%" for name, value in listed if value is not None
    )
    lines = "".join(f"<tr><td>{escape(str(row.get('source') or '–'))}</td><td>{dense(row)}</td></tr>" for row in picked)
    return (
        note(told)
        + (note(f"Right in clips whose full description it never saw: {line}.") if line else "")
        + f'<table class="captions"><thead><tr><th>source</th><th>dense</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def words(text: Any) -> list[str]:
    """The words of a caption."""
    return str(text).split()


def dense(row: Mapping[str, Any]) -> str:
    """A dense caption as HTML: words beyond the source coloured, words that differ from the truth underlined."""
    told, known = words(row["dense"]), {word.casefold().strip(".,") for word in words(row.get("source") or "")} | PLAIN
    truth = words(row["truth"]) if row.get("truth") else told
    html, missed = [], []
    for kind, first, last, start, end in SequenceMatcher(None, told, truth, autojunk=False).get_opcodes():
        for word in told[first:last]:
            if kind != "equal":
                html.append(f"<mark>{escape(word)}</mark>")
            elif word.casefold().strip(".,") in known:
                html.append(escape(word))
            else:
                html.append(f'<span class="gained">{escape(word)}</span>')
        missed += [escape(word) if kind == "equal" else f"<b>{escape(word)}</b>" for word in truth[start:end]]
    return " ".join(html) + (f'<span class="truth">truth: {" ".join(missed)}</span>' if told != truth else "")


def commands(stages: Sequence[Mapping[str, Any]]) -> str:
    """Each stage with its time, its memory and the very commands that were run."""
    if not stages:
        return absent("No stages yet: stages.json is missing.")
    times = [number(stage.get("seconds")) or 0.0 for stage in stages]
    parts = []
    for stage, seconds in zip(stages, times, strict=True):
        peak = number(stage.get("peak_gb"))
        memory = "" if peak is None else f"{peak:.1f} GB"
        lines = "".join(f"<pre>{escape(line)}</pre>" for line in str(stage.get("command", "")).splitlines())
        parts.append(
            f'<div class="stage"><b>{escape(str(stage.get("name", "")))}</b>'
            f'<div><div class="bar" style="--p:{seconds / (max(times) or 1):.4f}"></div></div>'
            f'<span class="time">{duration(seconds)}</span><span class="peak">{memory}</span>{lines}</div>'
        )
    total = f'<b>total</b><div></div><span class="time">{duration(sum(times))}</span><span></span>'
    told = (
        "What was run, in this order, as it can be typed again from the root of the project. "
        "Memory is the most that all processes held together."
    )
    return note(told) + "".join(parts) + f'<div class="stage sum">{total}</div>'
