"""The tables of docs/scaling.md, made of benchmarks/results/scaling.json: nothing there is written by hand.

PYTHONPATH=. python benchmarks/tables.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dit_video import log

DOC, RESULTS = Path("docs/scaling.md"), Path("benchmarks/results/scaling.json")
MARKED = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
KINDS = {
    "all-gather": (("gathers",), ("allgather_base",)),
    "reduce-scatter": (("scatters",), ("reduce_scatter_base",)),
    "all-reduce": (("copies",), ("allreduce",)),
    "all-to-all": (("trades", "matrices"), ("alltoall_base",)),
}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def percent(value: float) -> str:
    """A share as percents."""
    return f"{100 * value:.0f} %"


def best(found: Sequence[dict[str, Any]]) -> str:
    """The fastest plans of one clip, on GPUs of both sizes."""
    rooms = list(dict.fromkeys(one["room"] for one in found))
    about = ("plan", "recompute", "GB", "sent", "busy", "waits", "MFU")
    rows: dict[tuple[str, int], list[object]] = {}
    for one in found:
        cells = rows.setdefault((one["model"], one["gpus"]), [one["model"], f"{one['gpus']:,}"])
        if not one["plan"]:
            cells += ["does not fit", *[""] * (len(about) - 1)]
            continue
        shares = [percent(one[key]) for key in ("communication", "waiting", "mfu")]
        cells += [one["plan"], one["recompute"], one["memory, GB"], one["sent in all, GB"], *shares]
    heads = [f"{rooms[0]}: {about[0]}", *about[1:], f"{rooms[1]}: {about[0]}", *about[1:]]
    return table(["model", "GPUs", *heads], rows.values())


def ways(found: Sequence[dict[str, Any]]) -> str:
    """Plans of one model on one number of GPUs."""
    rows = [
        (
            one["plan"],
            one["recompute"],
            one["packs"],
            one["memory, GB"],
            one["sent in all, GB"],
            percent(one["communication"]),
            percent(one["waiting"]),
            percent(one["mfu"]),
        )
        for one in found
    ]
    return table(["plan", "recompute", "packs a step", "GB", "sent, GB", "busy", "waits", "MFU"], rows)


def volumes(found: Sequence[dict[str, Any]]) -> str:
    """What is sent, by what for."""
    names = ("gathers", "scatters", "copies", "trades")
    rows = [
        [
            one["model"],
            f"{one['gpus']:,}",
            one["plan"],
            *(one["sent, GB"][name] for name in names),
            one["sent in all, GB"],
        ]
        for one in found
    ]
    return table(["model", "GPUs", "plan", *names, "in all"], rows)


def measured(found: Sequence[dict[str, Any]]) -> str:
    """The formulas beside the count; what differs is the gradient norm, one number."""
    rows = []
    for one in found:
        cells = [one["plan"], one["optimizer"], one["precision"], one["recompute"]]
        for told, counted in KINDS.values():
            bytes_told = sum(one["told"][name] for name in told)
            bytes_counted = sum(one["counted"].get(name, 0) for name in counted)
            cells.append(f"{bytes_told:,} / {bytes_counted:,.0f}")
        rows.append(cells)
    return table(["plan", "optimizer", "precision", "recompute", *KINDS], rows)


def plain(found: Sequence[dict[str, Any]]) -> str:
    """Rows as they are."""
    return table(list(found[0]), [list(one.values()) for one in found])


def tables(figures: dict[str, Any]) -> dict[str, str]:
    """Every table by its name."""
    clips = list(dict.fromkeys(one["clip"] for one in figures["best"]))
    return {
        "sizes": plain(figures["sizes"]),
        "muon": plain(figures["muon"]),
        "measured": measured(figures["measured"]),
        "volumes": volumes(figures["volumes"]),
        **{clip: best([one for one in figures["best"] if one["clip"] == clip]) for clip in clips},
        **{f"14B, {clip}": ways([one for one in figures["14B on 128 GPUs"] if one["clip"] == clip]) for clip in clips},
    }


def filled(text: str, figures: dict[str, Any]) -> str:
    """The document with its tables."""
    made = tables(figures)
    return MARKED.sub(lambda found: found[1] + "\n" + made[found[2]] + "\n" + found[3], text)


def main() -> None:
    """Fill in the document."""
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))["figures"]
    DOC.write_text(filled(DOC.read_text(encoding="utf-8"), figures), encoding="utf-8")
    log.say(f"tables of {RESULTS} are in {DOC}")


if __name__ == "__main__":
    main()
