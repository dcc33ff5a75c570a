"""The page around a report's sections: its style, its few lines of script, and small pieces of HTML.

One file and no request to anywhere: a content policy forbids what is not in the page itself. Colours are variables, so
that the dark scheme is a second set of values and nothing more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark;
  --paper: #fff; --panel: #f6f7f9; --ink: #15181d; --soft: #5d6572; --line: #e2e5ea; --accent: #1d5bd1;
  --good: #16804c; --bad: #c8382d; --warn: #96600a; --s0: #0b7285; --s1: #1d5bd1; --s2: #7a3fc4; --s3: #c2387d; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #101216; --panel: #181b21; --ink: #e8eaee; --soft: #98a0ad; --line: #2a2f37; --accent: #7fabff;
  --good: #57c58d; --bad: #f4796c; --warn: #e2ae4c; --s0: #4cc3d6; --s1: #7fabff; --s2: #b48cf2; --s3: #f07fb5; } }
* { box-sizing: border-box }
html { scroll-behavior: smooth; scroll-padding-top: 52px; -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums }
main { max-width: 1168px; margin: 0 auto; padding: 44px 24px 64px }
h1 { font-size: 32px; line-height: 1.15; letter-spacing: -.022em; font-weight: 650; margin: 0 0 8px }
h2 { font-size: 20px; line-height: 1.3; letter-spacing: -.012em; font-weight: 650; margin: 0 0 4px }
h3 { font-size: 14px; font-weight: 650; margin: 24px 0 10px }
h3 small { font-size: 13px; font-weight: 400; color: var(--soft); margin-left: 8px }
p { margin: 0 0 12px; max-width: 74ch }
.lede { font-size: 17px; color: var(--soft); max-width: 68ch; margin: 0 }
.note { color: var(--soft); font-size: 14px }
.absent { color: var(--soft); font-size: 14px; border-left: 2px solid var(--line); padding: 2px 0 2px 12px;
  margin: 10px 0 0 }
nav { position: sticky; top: 0; z-index: 2; display: flex; gap: 4px 20px; padding: 9px 24px; font-size: 14px;
  overflow-x: auto; white-space: nowrap; scrollbar-width: none; background: var(--paper);
  border-bottom: 1px solid var(--line) }
nav a { color: var(--soft) } nav a.here { color: var(--ink); font-weight: 600 }
@media (min-width: 1400px) { body { display: grid; grid-template-columns: 200px minmax(0, 1fr) }
  nav { align-self: start; flex-direction: column; gap: 7px; padding: 52px 0 0 32px; border: 0; overflow: visible;
    white-space: normal } }
a { color: var(--accent); text-decoration: none } a:hover { text-decoration: underline }
section { border-top: 1px solid var(--line); margin-top: 36px; padding-top: 22px }
code, pre { font: 12.5px/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }

.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(136px, 1fr)); gap: 1px; margin: 28px 0 0;
  border: 1px solid var(--line); border-radius: 8px; overflow: hidden }
.figures div { outline: 1px solid var(--line); padding: 14px 16px 12px }
.figures dt { font-size: 12.5px; color: var(--soft) }
.figures dd { margin: 2px 0 0; font-size: 24px; line-height: 1.25; font-weight: 620; letter-spacing: -.02em;
  white-space: nowrap }
.figures dd small { font-size: 15px; font-weight: 500; letter-spacing: 0; color: var(--soft) }
.figures .goal { margin: 0; font-size: 12.5px; font-weight: 400; letter-spacing: 0; color: var(--soft) }
.met::before { content: "✓ "; color: var(--good); font-weight: 700 }
.unmet::before { content: "✗ "; color: var(--bad); font-weight: 700 }

.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th { font-weight: 500; color: var(--soft); font-size: 12.5px; text-align: left; padding: 6px 10px;
  vertical-align: bottom }
td { padding: 6px 10px; border-top: 1px solid var(--line); vertical-align: top }
.shares td { text-align: right; white-space: nowrap } .shares th { text-align: right }
.shares th:first-child, .shares td:first-child { text-align: left; padding-left: 0 }
.shares td.share { background: color-mix(in srgb, var(--bad) calc((1 - var(--p)) * 110%), transparent) }
.shares td.all { font-weight: 650 } .shares td.n { color: var(--soft) }
.shares tr.apart td { border-top: 1px solid var(--soft) }

.sheet { display: flex; flex-wrap: wrap; gap: 16px 12px; align-items: flex-start }
.sheet.grid { display: grid; gap: 16px 12px } .sheet + .sheet { margin-top: 18px }
figure { margin: 0; max-width: 100% }
.sheet figcaption { font-size: 11.5px; line-height: 1.38; margin-top: 5px; color: var(--soft);
  overflow-wrap: anywhere }
.screen { display: flex; gap: 3px }
video, img { display: block; background: var(--panel); border-radius: 2px;
  outline: 1px solid color-mix(in srgb, var(--ink) 13%, transparent); outline-offset: -1px }
.pixel { image-rendering: pixelated }
.lost { display: grid; place-items: center; background: var(--panel); color: var(--soft); font-size: 11.5px;
  border-radius: 2px }
.right, .wrong { font-weight: 650 } .right { color: var(--good) } .wrong { color: var(--bad) }
.tag { color: var(--accent); white-space: nowrap }

.captions td { width: 50%; line-height: 1.45 }
.captions td:first-child { padding-left: 0; width: 30%; color: var(--soft) }
.captions th:first-child { padding-left: 0 }
.gained { color: var(--accent) }
mark { background: none; color: var(--bad); text-decoration: underline wavy; text-decoration-thickness: 1px;
  text-underline-offset: 3px }
.truth { display: block; color: var(--soft); font-size: 13px } .truth b { color: var(--ink); font-weight: 600 }

.plots { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 14px 22px }
.plots .wide { grid-column: span 2 }
.plots figcaption { font-size: 12.5px; color: var(--soft); display: flex; justify-content: space-between; gap: 12px;
  white-space: nowrap }
.plots figcaption b { color: var(--ink); font-weight: 600 }
svg { display: block; width: 100%; height: auto; overflow: visible }
svg text { font-size: 11px; fill: var(--soft) }
svg .grid { stroke: var(--line); stroke-width: 1 } svg .axis { stroke: var(--soft); stroke-width: 1 }
svg path { fill: none; stroke-linejoin: round } svg .raw { stroke-width: 1; opacity: .28 }
svg .smooth { stroke-width: 2 }
.c { stroke: var(--accent) } .c0 { stroke: var(--s0) } .c1 { stroke: var(--s1) } .c2 { stroke: var(--s2) }
.c3 { stroke: var(--s3) }
svg .key { stroke-width: 3; stroke-linecap: round } svg circle { fill: var(--accent); fill-opacity: .6 }
svg .goal { stroke: var(--good); stroke-dasharray: 3 3 }

.stage { display: grid; grid-template-columns: 108px minmax(0, 1fr) 96px 72px; gap: 0 14px; align-items: center;
  padding: 9px 0;
  border-top: 1px solid var(--line) }
.stage b { font-weight: 600 } .stage .time, .stage .peak { text-align: right; white-space: nowrap }
.stage .peak { color: var(--soft) }
.bar { height: 10px; border-radius: 2px; background: var(--accent); min-width: 2px; width: calc(var(--p) * 100%) }
.stage pre { grid-column: 2 / -1; margin: 5px 0 0; color: var(--soft); white-space: pre-wrap;
  overflow-wrap: anywhere; padding-left: 2ch }
.stage pre::before { content: "$ "; margin-left: -2ch; user-select: none; opacity: .7 }
.stage.sum { font-weight: 600 }
@media (max-width: 760px) { main { padding: 28px 16px 48px } .plots { grid-template-columns: minmax(0, 1fr) }
  .plots .wide { grid-column: auto } .stage { grid-template-columns: 84px minmax(0, 1fr) 84px 60px }
.stage pre { grid-column: 1 / -1 } }
@media print { main { max-width: none; padding: 0 } nav { display: none } figure, .stage, tr { break-inside: avoid } }
"""

SCRIPT = """
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches, all = [...document.querySelectorAll('video')];
const seen = new IntersectionObserver(rows => rows.forEach(row =>
  row.isIntersecting && !calm ? row.target.play().catch(() => {}) : row.target.pause()), {rootMargin: '200px'});
all.forEach(v => { seen.observe(v); v.onclick = () => v.paused ? v.play() : v.pause(); });
document.querySelectorAll('.step').forEach(pair => { const [a, b] = pair.querySelectorAll('video'); if (!b) return;
  const follow = () => { if (Math.abs(a.currentTime - b.currentTime) > 0.04) b.currentTime = a.currentTime; };
  a.addEventListener('timeupdate', follow); a.addEventListener('seeked', follow);
  a.addEventListener('play', () => b.play().catch(() => {})); a.addEventListener('pause', () => b.pause()); });
const parts = [...document.querySelectorAll('section')], links = [...document.querySelectorAll('nav a')];
const mark = () => { const at = parts.findLastIndex(part => part.getBoundingClientRect().top < 120);
  links.forEach((link, n) => link.classList.toggle('here', n === at)); };
addEventListener('scroll', mark, {passive: true}); mark();
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor and its name in the list of contents, and its HTML."""

    anchor: str
    name: str
    body: str


def document(title: str, head: str, sections: list[Section], *, style: str = "", script: str = "") -> str:
    """The whole page: the list of contents, which stays in sight, then `head` and the sections."""
    links = "".join(f'<a href="#{part.anchor}">{escape(part.name)}</a>' for part in sections)
    parts = "".join(
        f'<section id="{part.anchor}"><h2>{escape(part.name)}</h2>{part.body}</section>\n' for part in sections
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><style>{STYLE}{style}</style></head>\n'
        f'<body><nav aria-label="contents">{links}</nav><main>\n'
        f"<header>{head}</header>\n{parts}</main>\n<script>{SCRIPT}{script}</script></body></html>\n"
    )


def absent(text: str) -> str:
    """Says that something is not there, and why."""
    return f'<p class="absent">{shown_code(escape(text))}</p>'


def note(text: str) -> str:
    """A line of explanation under a heading."""
    return f'<p class="note">{shown_code(escape(text))}</p>'


def shown_code(html: str) -> str:
    """Settings such as pixels=256 in a text, set as code."""
    return re.sub(r"(?<![\w.])([A-Za-z_][\w.]*=(?:\[[^\]\s]*\]|[\w./:-]*\w)?)", r"<code>\1</code>", html)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
