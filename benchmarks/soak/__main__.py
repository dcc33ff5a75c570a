"""`python -m benchmarks.soak [sections="kills goodput"] [kills=200] [minutes=5] [folder=outputs/soak]`.

`trials="limit,preempted"` runs some of the trials of the section slurm: those with such a part in their names.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.soak import corpus, goodput, kills, places, slurm, sweeps, table, worlds
from dit_video import log

DEFAULTS = {"sections": "", "kills": "200", "minutes": "5", "folder": "outputs/soak", "trials": ""}


def main(arguments: Sequence[str]) -> None:
    """Run the sections that are asked for, in order, and write down each as it ends."""
    log.setup()
    given = settings(arguments)
    folder = Path(given["folder"]).resolve()
    named = sections(folder, given)
    wanted = given["sections"].split() or list(named)
    if strange := set(wanted) - set(named):
        raise SystemExit(f"sections={' '.join(strange)} are unknown; expected some of {' '.join(named)}")
    for name in wanted:
        began = time.time()
        log.say(f"--- {name}")
        if figures := named[name]():
            table.write(results.merge("soak", figures, minutes=round((time.time() - began) / 60, 1)))


def jobs(figures: Mapping[str, Mapping[str, Any]], minutes: float) -> None:
    """Write down a trial under SLURM, in a file and a table of their own."""
    table.write_slurm(results.merge("slurm", figures, minutes=minutes))


def settings(arguments: Sequence[str]) -> dict[str, str]:
    """The arguments over their defaults."""
    found = dict(argument.split("=", 1) for argument in arguments)
    if strange := set(found) - set(DEFAULTS):
        raise SystemExit(f"{' '.join(strange)} are unknown; expected some of {' '.join(DEFAULTS)}")
    return DEFAULTS | found


def sections(folder: Path, given: Mapping[str, str]) -> dict[str, Callable[[], dict[str, Any]]]:
    """What each section measures, under the keys it has in soak.json."""

    def data() -> Path:
        return corpus.make(folder)

    return {
        "kills": lambda: {"kills": kills.measure(folder, data(), count=int(given["kills"]))},
        "places": lambda: {"places": places.measure(folder, data())},
        "worlds": lambda: {"worlds": worlds.measure(folder, data())},
        "bit_flips": lambda: {"bit_flips": sweeps.bit_flips(folder)},
        "saves": lambda: {"saves": sweeps.saves(folder)},
        "failures": lambda: {"failures": sweeps.failures(folder)},
        "signals": lambda: {"signals": sweeps.signals(folder)},
        "not_finite": lambda: {"not_finite": sweeps.not_finite(folder)},
        "goodput": lambda: {"goodput": goodput.measure(folder, data(), minutes=float(given["minutes"]))},
        "slurm": lambda: slurm.measure(folder, data, only=given["trials"].split(","), keep=jobs),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
