"""The page of an evaluation: figures, the worst clips and the best to look at, every clip, and the latents.

Videos are in the page itself, so it can be sent to somebody as one file.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from dit_video.evaluation.beside import GAIN
from dit_video.evaluation.figures import FIGURES
from dit_video.evaluation.latents import DEAD
from dit_video.evaluation.table import best, columns, said
from dit_video.page import plots
from dit_video.page.document import Section, absent, document, note
from dit_video.page.media import Medium

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Row = dict[str, Any]
KEY = 12  # letters
STYLE = """
.figured td, .figured th { text-align: right; white-space: nowrap } .figured { width: auto; min-width: 60% }
.figured td:first-child, .figured th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere }
.figured small { display: block; color: var(--soft); font-size: 12px } .figured .best { font-weight: 650 }
.figured b { font-weight: 600 }
.shown { display: flex; flex-wrap: wrap; gap: 24px; align-items: flex-end } .shown figure { max-width: 100% }
.shown video, .shown img { width: 100%; height: auto }
.labels { display: grid; font-size: 12px; color: var(--soft); margin-bottom: 4px; gap: 4px }
.labels span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.shown figcaption { font-size: 12.5px; color: var(--soft); margin-top: 5px; overflow-wrap: anywhere }
.shown figcaption b { color: var(--ink); font-weight: 600 }
.every td:first-child { overflow-wrap: anywhere; white-space: normal }
.bars { display: flex; align-items: flex-end; gap: 1px; height: 88px; border-bottom: 1px solid var(--soft) }
.bars i { flex: 1 1 0; min-width: 1px; max-width: 22px; background: var(--accent);
  height: max(1px, calc(var(--p) * 100%)) }
.bars i.dead { background: var(--bad) }
"""


def write_page(folder: Path, results: Mapping[str, Any], *, shown: int) -> Path:
    """Write evaluation.html into `folder`, beside the videos that `results` names, and return its path."""
    sections = [
        Section("figures", "Figures", figures(results)),
        Section("shown", "Worst and best clips", worst_and_best(folder, results, shown=shown)),
        Section("clips", "Every clip", every_clip(results)),
        Section("latents", "Latents", latents(results)),
    ]
    page = folder / "evaluation.html"
    names = ", ".join(item["name"] for item in results["vaes"])
    page.write_text(document(f"{names} – evaluation", head(results), sections, style=STYLE), encoding="utf-8")
    return page


def head(results: Mapping[str, Any]) -> str:
    """What was done, and of one VAE its first figures in large."""
    clips, settings = results["clips"], results["settings"]
    frames = sum(clip["frames"] for clip in clips)
    sizes = sorted({f"{clip['width']} × {clip['height']}" for clip in clips})
    told = [
        f"{len(clips)} clips",
        f"{frames:,} frames",
        sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes",
    ]
    told += [f"at {settings['fps']:g} fps"] if settings["fps"] else []
    told += [f"from {settings['start']:.0%} of each video on"] if settings["start"] else []
    title = escape(", ".join(item["name"] for item in results["vaes"]))
    strip = ""
    if len(results["vaes"]) == 1:
        own = results["vaes"][0]["figures"]
        cells = [
            f"<div><dt>{FIGURES[name].name}</dt><dd>{said(own[name]['mean'], FIGURES[name].digits)}"
            f" <small>{FIGURES[name].unit}</small></dd></div>"
            for name in columns(results)
        ]
        strip = f'<dl class="figures">{"".join(cells)}</dl>'
    lost = results["damaged"]
    missing = f"<p class=note>Left out: {escape('; '.join(item['reason'] for item in lost))}</p>" if lost else ""
    return (
        f"<h1>{title}</h1><p class=lede>{escape(results['source'])}</p>"
        f"<p class=note>{escape(', '.join(told))}</p>{strip}{missing}"
    )


def figures(results: Mapping[str, Any]) -> str:
    """A row a VAE: what it is, and its figures with their intervals."""
    names = columns(results)
    ahead = {name: best(results, name) for name in names}
    heads = "".join(f"<th>{FIGURES[name].name}<small>{FIGURES[name].unit}</small></th>" for name in names)
    distances = any(item["fvd"] for item in results["vaes"])
    rows = []
    for at, item in enumerate(results["vaes"]):
        ratio = item["compression"]
        size = f"{ratio['time']} × {ratio['space']} × {ratio['space']}, {ratio['channels']} channels"
        about = f"{size} ({item['values_ratio']:,.0f} times fewer values), {plots.short(item['parameters'])} parameters"
        cells = "".join(cell(item["figures"][name], name, first=ahead[name] == at) for name in names)
        if distances:
            cells += f"<td>{said(item['fvd']['value'], 1) if item['fvd'] else '–'}</td>"
        rows.append(f"<tr><td><b>{escape(item['name'])}</b><small>{escape(about)}</small></td>{cells}</tr>")
    told = (
        "Means over clips; below them where 95 of 100 such sets of clips would have had the mean (bootstrap). All are "
        "of 8-bit frames. Motion error: by how many levels of 255 the change from frame to frame is off. Flicker: how "
        "much the copy changes where the video stands still. Detail: power of fine structure over that of the video; "
        "below 1 is blurred, above 1 invented."
    )
    last = "<th>rFVD</th>" if distances else ""
    left = "" if results["settings"]["lpips"] else note("LPIPS is left out: lpips=FILE names the weights of AlexNet.")
    return (
        f'{note(told)}<div class="scroll"><table class="figured"><thead><tr><th></th>{heads}{last}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{left}"
    )


def cell(figure: Mapping[str, Any] | None, name: str, *, first: bool) -> str:
    """A mean, its interval in small below."""
    if figure is None:
        return "<td>–</td>"
    digits = FIGURES[name].digits
    known = figure["low"] is not None
    ends = f"<small>{said(figure['low'], digits)} – {said(figure['high'], digits)}</small>" if known else ""
    return f"<td{' class=best' if first else ''}>{said(figure['mean'], digits)}{ends}</td>"


def quality(clip: Row) -> float:
    """By what clips are ordered: their mean PSNR over VAEs."""
    return float(np.mean([item["psnr_db"] for item in clip["vaes"]]))


def worst_and_best(folder: Path, results: Mapping[str, Any], *, shown: int) -> str:
    """The worst clips first and then the best, each once, with their error maps."""
    order = sorted(results["clips"], key=quality)
    worst, finest = order[:shown], order[shown:][::-1][:shown]
    if not worst:
        return absent("No clip is shown: shown=0.")
    several = " Below each copy its" if len(results["vaes"]) > 1 else "Left the original, then the copy and its"
    told = f"{several} error, {GAIN} times as large: black is none, white {255 // GAIN} levels of 255 or more."
    parts = [note(told.strip())]
    for name, clips in (("Worst", worst), ("Best", finest)):
        if clips:
            every = len(clips) == len(order)
            title = "All, the worst first" if every else f"{name}<small>{len(clips)} of {len(order)} by PSNR</small>"
            parts.append(f"<h3>{title}</h3>{sheet(folder, clips, results)}")
    return "".join(parts)


def sheet(folder: Path, clips: Sequence[Row], results: Mapping[str, Any]) -> str:
    """Clips in rows, as many as fit."""
    tiles = [tile(clip, Medium.load(folder / clip["shown"]), results) for clip in clips]
    return f'<div class="shown">{"".join(tiles)}</div>'


def tile(clip: Row, medium: Medium | None, results: Mapping[str, Any]) -> str:
    """A clip: over it what its panels are, below it its name and figures."""
    names = [item["name"] for item in results["vaes"]]
    labels = ["original", *names] if len(names) > 1 else ["original", names[0], f"error × {GAIN}"]
    spans = "".join(f'<span title="{escape(label)}">{escape(label)}</span>' for label in labels)
    above = f'<div class="labels" style="grid-template-columns:repeat({len(labels)},1fr)">{spans}</div>'
    told = zip(clip["vaes"], names if len(names) > 1 else [""], strict=True)
    facts = " · ".join(of_clip(item, name) for item, name in told)
    below = f"<figcaption><b>{escape(clip['name'])}</b> {facts}</figcaption>"
    if medium is None:
        return f"<figure>{above}{absent('The video of this clip is not there any more.')}{below}</figure>"
    size = f'width="{medium.width}" height="{medium.height}"'
    look = f'src="{medium.uri}" {size}'
    label = escape(f"{clip['name']}: {', '.join(labels)}")
    if medium.moving:
        screen = f'<video {look} autoplay loop muted playsinline aria-label="{label}"></video>'
    else:
        screen = f'<img {look} alt="{label}">'
    return f'<figure style="width:{medium.width}px">{above}{screen}{below}</figure>'


def of_clip(item: Mapping[str, float | None], name: str) -> str:
    """The figures of a clip that say most."""
    told = [f"{said(item['psnr_db'], 1)} dB"]
    told += [f"SSIM {said(item['ssim'], 3)}"] if item["ssim"] is not None else []
    told += [f"LPIPS {said(item['lpips'], 3)}"] if item["lpips"] is not None else []
    return escape(f"{name} {', '.join(told)}".strip())


def every_clip(results: Mapping[str, Any]) -> str:
    """How PSNR spreads, and a row a clip, the worst first."""
    clips = sorted(results["clips"], key=quality)
    parts = []
    found = np.array([[item["psnr_db"] for item in clip["vaes"]] for clip in clips])
    known = found[np.isfinite(found)]
    for item, values in zip(results["vaes"], found.T, strict=True):
        if np.isfinite(values).sum() > 1:
            ends = (float(known.min()), float(known.max()))
            dots = plots.dots(item["name"], values[np.isfinite(values)], unit="PSNR of each clip, dB", ends=ends)
            parts.append(dots)
    spread = f'<div class="plots">{"".join(parts)}</div>' if parts else ""
    return spread + clip_table(clips, results)


def clip_table(clips: Sequence[Row], results: Mapping[str, Any]) -> str:
    """A row a clip: of one VAE all figures, of several their PSNR."""
    names = [item["name"] for item in results["vaes"]]
    several = len(names) > 1
    wanted = ["psnr_db"] if several else columns(results)
    heads = "".join(
        f"<th>{escape(name)}<small>PSNR, dB</small></th>" if several else f"<th>{FIGURES[figure].name}</th>"
        for name in (names if several else names[:1])
        for figure in wanted
    )
    rows = []
    for clip in clips:
        cells = "".join(f"<td>{said(v[name], FIGURES[name].digits)}</td>" for v in clip["vaes"] for name in wanted)
        size = f"{clip['frames']} × {clip['width']} × {clip['height']}"
        rows.append(f"<tr><td>{escape(clip['name'])}<small>{size}</small></td>{cells}</tr>")
    return (
        f'<div class="scroll"><table class="figured every"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def latents(results: Mapping[str, Any]) -> str:
    """The spectrum of all VAEs in one plot; of each, what its channels carry."""
    curves = []
    for at, item in enumerate(results["vaes"]):
        if len(item["spectrum"]) > 1:
            x, y = np.array(item["spectrum"]).T
            curves.append(plots.Curve(x, np.maximum(y, 1e-12), name=ending(item["name"]), style=f"c{at % 4}"))
    unit = "power by cycles a latent position"
    plot = plots.lines("Spectrum of normalised latents", curves, unit=unit, wide=True) if curves else ""
    told = (
        "Flat at 1 is white noise. A latent whose power falls towards high frequencies is smooth, and is learnt from "
        "coarse to fine; one that rises hides detail where a transformer finds it late."
    )
    spectrum = f'{note(told)}<div class="plots">{plot}</div>' if plot else absent("The latents are too small for one.")
    return spectrum + "".join(channels(item) for item in results["vaes"])


def ending(name: str) -> str:
    """As much of a name as a plot's key has room for; names of one kind differ at their ends."""
    return name if len(name) <= KEY else f"…{name[1 - KEY :]}"


def channels(item: Mapping[str, Any]) -> str:
    """A bar a channel, the fullest first: KL in nats a position, or variance where the latent is a point."""
    found = item["channels"]
    point = not all(math.isfinite(value) for value in found["kl"])
    what, values = ("variance", found["variance"]) if point else ("KL", found["kl"])
    order = sorted(range(len(values)), key=lambda at: -values[at])
    most = max(values) or 1.0
    bars = "".join(
        f'<i{" class=dead" if at in found["dead"] else ""} style="--p:{values[at] / most:.4f}" '
        f'title="channel {at}: {what} {values[at]:.3g}, carries {found["carried"][at]:.1%}"></i>'
        for at in order
    )
    told = f"{what} of each channel" + ("" if point else f", {sum(values):.3g} nats a position in all")
    dead = len(found["dead"])
    told += f"; {dead} of {len(values)} dead: less than {DEAD:.0%} of their variance is the video’s" if dead else ""
    return f'<h3>{escape(item["name"])}<small>{escape(told)}</small></h3><div class="bars">{bars}</div>'
