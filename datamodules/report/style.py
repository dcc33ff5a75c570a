"""Style and script of the dataset report, on top of the page's own."""

STYLE = """
.findings { list-style: none; margin: 22px 0 0; padding: 0; font-size: 14.5px }
.findings li { display: grid; grid-template-columns: 20px minmax(0, 1fr); gap: 6px; padding: 7px 0;
  border-top: 1px solid var(--line); overflow-wrap: anywhere }
.findings li:last-child { border-bottom: 1px solid var(--line) }
.findings [role=img] { font-weight: 700; text-align: center } .look { color: var(--warn) }
.soft { color: var(--soft) }
header .note { margin: 10px 0 0; overflow-wrap: anywhere }

.tiles, .saids { display: flex; flex-wrap: wrap; gap: 10px 8px; align-items: flex-start }
.tile { position: relative; max-width: 100% }
.tile i { display: grid; max-width: 100%; place-items: center; border-radius: 3px;
  background: var(--panel) no-repeat 0 0 / auto 100%;
  font-style: normal; font-size: 11px; color: var(--soft);
  box-shadow: inset 0 0 0 1px color-mix(in srgb, var(--ink) 12%, transparent); print-color-adjust: exact }
.tile figcaption { font-size: 11px; line-height: 1.35; margin-top: 3px; color: var(--soft);
  overflow-wrap: anywhere }
.tile figcaption b { color: var(--ink); font-weight: 600 }
.tile.moves i { background-size: 400% 100% }
.tile.moves:hover i { animation: frames 1.6s steps(4, jump-none) infinite }
@keyframes frames { from { background-position: 0 0 } to { background-position: 100% 0 } }
.about { display: none; position: absolute; z-index: 3; top: calc(100% + 4px); left: 0; width: max-content;
  max-width: min(320px, 80vw); padding: 8px 10px; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; box-shadow: 0 6px 24px #0003; font-size: 12.5px; line-height: 1.4; overflow-wrap: anywhere;
  pointer-events: none }
.about.left { left: auto; right: 0 }
.about span { display: block } .about span:first-child { font-weight: 600 } .about span + span { color: var(--soft) }
.tile:hover .about { display: block }

.spreads { align-items: start; gap: 24px 22px; margin-top: 14px }
.spread output { display: block; font-size: 12px; line-height: 1.45; color: var(--soft); min-height: 35px }
.spread output b { color: var(--ink); font-weight: 600 }
.spread output code { display: block; font-size: 11px; overflow-wrap: anywhere }
.field { position: relative } .field input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  opacity: 0; cursor: crosshair; touch-action: pan-y }
.field:focus-within { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 3px }
svg .pile { fill: color-mix(in srgb, var(--accent) 46%, transparent) }
svg .below { stroke: var(--ink); stroke-width: 1.4 } svg .at { stroke: var(--bad); visibility: hidden }
.tried svg .at { visibility: visible }

.columns { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 36px }
.listed td { padding: 5px 10px 5px 0; vertical-align: middle } .listed tr:first-child td { border-top: 0 }
.listed thead + tbody tr:first-child td { border-top: 1px solid var(--line) }
.listed th { padding: 5px 10px 5px 0 } .listed .n { text-align: right; white-space: nowrap }
.listed .name { overflow-wrap: anywhere; min-width: 90px } .listed.wide .name { white-space: nowrap }
.listed .track { width: 22%; min-width: 70px } .bar.drop { background: var(--bad) }
.listed .reason { min-width: 180px }
.names span { display: block; overflow-wrap: anywhere; min-width: 200px } .names, .pairs { font-size: 12.5px }
.pairs span { white-space: nowrap; margin-right: 10px; display: inline-block }
.scroll + .note { margin-top: 8px }

.card { display: grid; grid-template-columns: 330px minmax(0, 1fr); gap: 10px 28px; padding: 20px 0 6px }
.card + .card { border-top: 1px solid var(--line) }
.card .plots { grid-template-columns: minmax(0, 1fr); margin: 0 }
.cards.bare { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0 28px }
.bare .card { border: 0; grid-template-columns: minmax(0, 1fr); align-content: start }
.ends { display: flex; justify-content: space-between; max-width: none; font-size: 12.5px; font-weight: 600;
  margin: 0 0 6px } .ends span:first-child::before { content: "← " } .ends span:last-child::after { content: " →" }
.pairs-of { display: flex; flex-wrap: wrap; gap: 16px 28px } .pair { display: flex; gap: 3px }
.saids { gap: 18px 28px } .said { display: flex; gap: 14px; width: calc(50% - 14px); align-items: flex-start }
.said .tile { flex: none } .said dl { margin: 0; font-size: 13px; line-height: 1.4; min-width: 0 }
.said dt { color: var(--soft); font-size: 11.5px } .said dd { margin: 0 0 6px; overflow-wrap: anywhere }
@media (max-width: 760px) { .columns, .card, .cards.bare { grid-template-columns: minmax(0, 1fr) }
  .wide .track { display: none } .said { width: 100% } .said .tile { max-width: 44% } .tiles { gap: 8px 6px } }
@media print { .about, .field input { display: none } .card, .pair, .said { break-inside: avoid } }
@media (prefers-reduced-motion: reduce) { .tile.moves:hover i { animation: none } }
"""

SCRIPT = """
const said = n => n.toLocaleString('en'), part = x => { const p = 100 * x;
  const text = p > 0 && p < 0.05 ? '< 0.1' : p < 100 && p > 99.95 ? '> 99.9' : p.toFixed(p && p < 100 ? 1 : 0);
  return text + '\\u00a0%' };
const length = h => h >= 1 ? h.toFixed(h < 100 ? 1 : 0) + ' h' : h * 60 >= 1 ? (h * 60).toFixed(1) + ' min' :
  (h * 3600).toFixed(1) + ' s';
const made = (tag, text) => Object.assign(document.createElement(tag), {textContent: text});
document.querySelectorAll('.spread').forEach(box => {
  const about = JSON.parse(box.dataset.spread), slider = box.querySelector('input'), line = box.querySelector('.at');
  const output = box.querySelector('output'), svg = box.querySelector('svg');
  const side = (name, n, hours, range) => [made('b', `${name} ${about.values[slider.value]}`),
    ` drops ${part(n / about.n)}: ${said(n)} ${about.what}` + (hours > 0 ? `, ${length(hours)}` : ''),
    about.filter ? made('code', `datamodules.filter.${about.filter}=${range}`) : made('br', '')];
  const tell = () => { const at = +slider.value, value = about.values[at];
    line.setAttribute('x1', about.x[at]); line.setAttribute('x2', about.x[at]); box.classList.add('tried');
    output.replaceChildren(...side('at least', about.below[at], about.hours[0][at], `[${value},null]`),
      ...side('at most', about.above[at], about.hours[1][at], `[null,${value}]`));
    slider.setAttribute('aria-valuetext', output.textContent); };
  slider.addEventListener('input', tell);
  slider.addEventListener('pointermove', event => { const frame = svg.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width * svg.viewBox.baseVal.width, first = about.x[0];
    const stop = Math.round((x - first) / (about.x[about.x.length - 1] - first) * (about.x.length - 1));
    slider.value = Math.min(Math.max(stop, 0), about.x.length - 1); tell(); });
});
document.querySelectorAll('.tile').forEach(tile => tile.addEventListener('pointerenter', () => {
  const box = tile.querySelector('.about');
  box.classList.toggle('left', tile.getBoundingClientRect().left > innerWidth / 2); }));
"""
