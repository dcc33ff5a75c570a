"""Writes the figures of soak.json into the tables of docs/faults.md, and those of slurm.json into docs/slurm.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE, SLURM = Path("docs/faults.md"), Path("docs/slurm.md")
BEGIN, END = "<!-- written by make soak -->", "<!-- to here -->"
SHARES = {
    "forward": "forward",
    "start": "start",
    "load": "load",
    "redo": "redo",
    "save": "save",
    "notice": "noticing it, and waiting",
}


def write(soak: Mapping[str, Any]) -> None:
    """The page on faults."""
    fill(PAGE, [*rows(soak), "", *forward(soak)])


def write_slurm(found: Mapping[str, Any]) -> None:
    """The page on SLURM."""
    fill(SLURM, jobs(found))


def fill(page: Path, lines: Iterable[str]) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after, encoding="utf-8")


def rows(soak: Mapping[str, Any]) -> Iterator[str]:
    """A row for each fault that was measured."""
    yield f"Measured on {soak['machine']['cores']} cores ({soak['machine']['cpu']})."
    yield ""
    yield "| fault | tried | as promised | more |"
    yield "|---|---|---|---|"
    for name, key, good in (("two ranks", "kills", "identical"), ("one process", "kills", "identical")):
        if found := soak.get(key, {}).get(name):
            yield row(f"SIGKILL of everything at random times, {name}", found, good, killed(found))
    for place, found in soak.get("places", {}).items():
        if isinstance(found, dict) and "tried" in found:
            yield row(f"SIGKILL {place}", found, "identical")
    for name, found in soak.get("worlds", {}).items():
        if "reloads" in found:
            worlds = " → ".join(map(str, found["worlds"]))
            loss = f"largest difference of a loss {found['largest_relative_difference_of_loss']:.1e}"
            order = "order unbroken" if found["order_unbroken"] else "**order broken**"
            yield f"| ranks {worlds}, {name} | {found['reloads']} | {found['bit_equal']} bit-equal | {order}, {loss} |"
        elif "changes" in found:
            yield f"| loader processes 0 → 3 → 1 | {found['changes']} | {found['identical']} identical | |"
    for name, found in soak.get("saves", {}).items():
        if isinstance(found, dict) and "right" in found:
            yield row(f"a save, or its files: {name}", found, "right")
    if found := soak.get("bit_flips"):
        yield row("a flipped bit in a checkpoint", found, "refused")
    if found := soak.get("failures"):
        yield row("one rank crashes or hangs: the right rank is named", found, "rank_right", seconds(found))
        yield row("... and the right cause", found, "cause_right")
        yield row("... and the run ends as if nothing had been", found, "equal")
    if found := soak.get("signals"):
        yield row("SIGTERM, SIGUSR1 to any ranks at any moment", found, "clean")
    if found := soak.get("not_finite"):
        yield row("NaN or infinity on one rank", found, "right")


def row(what: str, found: Mapping[str, Any], good: str, more: str = "") -> str:
    """One line of the table."""
    return f"| {what} | {found['tried']} | {found[good]} | {more} |"


def killed(found: Mapping[str, Any]) -> str:
    """What kills at random times cost."""
    redone, first = found["steps_redone"], found["to_first_step_s"]
    told = [f"{found['duplicates']} samples twice, {found['missing']} missing"]
    if redone:
        told.append(f"steps redone {redone['p50']} (at most {redone['max']})")
    if first:
        told.append(f"first step {first['p50']} s after the start (at most {first['max']}), imports apart")
    return "; ".join(told)


def seconds(found: Mapping[str, Any]) -> str:
    """How soon a failure is told, and a step completed again."""
    told = []
    for name in ("crash", "hang"):
        seen, again = found[f"{name}_detected_s"], found[f"{name}_recovered_s"]
        if seen:
            told.append(
                f"{name}: told after {seen['p50']} s (at most {seen['max']}), next step after {again['p50']} s "
                f"(at most {again['max']})"
            )
    return "; ".join(told) + f"; a hang is one after {found['silence_s']:g} s of silence"


def forward(soak: Mapping[str, Any]) -> Iterator[str]:
    """The share of time that moved training forward, by mean time between failures."""
    found = {name: figures for name, figures in soak.get("goodput", {}).items() if name.startswith("mean_")}
    if not found:
        return
    yield f"| mean time between failures | failures | {' | '.join(SHARES.values())} | model | of these failures |"
    yield "|---" * (len(SHARES) + 4) + "|"
    for name, figures in found.items():
        shares = " | ".join(f"{100 * figures['shares'][key]:.1f} %" for key in SHARES)
        models = f"{100 * figures['model']:.1f} % | {100 * figures['model_of_these_failures']:.1f} %"
        yield f"| {name.split('_')[1]} s | {figures['failures']} | {shares} | {models} |"


TIMES = ("detected_s", "requeued_s", "restarted_s", "stepped_s", "steps_redone")


def jobs(found: Mapping[str, Any]) -> Iterator[str]:
    """A row for each fault of a job under SLURM."""
    yield f"Measured on {found['machine']['cores']} cores ({found['machine']['cpu']}), {found['date']}."
    yield ""
    yield "| fault | tried | as promised | no longer runs | waits | runs again | next step done | steps done again |"
    yield "|---|---|---|---|---|---|---|---|"
    for what, figures in found.items():
        if isinstance(figures, dict) and "tried" in figures:
            cells = " | ".join(cell(figures.get(key)) for key in TIMES)
            yield f"| {what} | {figures['tried']} | {figures['right']} | {cells} |"


def cell(figures: Mapping[str, float] | None) -> str:
    """Median and most."""
    return f"{figures['p50']:g} ({figures['max']:g})" if figures else ""
