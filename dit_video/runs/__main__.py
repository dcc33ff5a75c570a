"""The command: which runs there are, or how one stands, or what came of a sweep.

    python -m dit_video.runs [dir=outputs/runs] [sort=KEY] [json=true] [watch=true]
    python -m dit_video.runs status RUN [json=true] [watch=true]
    python -m dit_video.runs status SWEEP [sort=KEY] [json=true] [watch=true]

A sweep is a folder of runs named by their settings (optim.lr=0.001): one table of results.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dit_video import config, log
from dit_video.errors import ConfigError
from dit_video.runs import find, listing, status, summary, sweep

NAME = "dit_video.runs"
FOLDER = "outputs/runs"
KEYS = ("dir", "sort", "json", "watch")
WARNINGS = 5
EVERY = 5.0  # seconds between two looks
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def main(arguments: Sequence[str]) -> None:
    """Show what is asked for; a user's mistake is one line and exit code 2."""
    with config.one_line(debug="run.debug=true" in arguments):
        if {"--help", "-h"} & set(arguments):
            log.say(str(__doc__))
            return
        log.setup()
        words = [item for item in arguments if item != "run.debug=true"]
        about = words[1] if words[:1] == ["status"] and len(words) > 1 and not option(words[1]) else None
        given = parsed(words[1:] if about is None and words[:1] == ["status"] else words[2:] if about else words)
        if words[:1] == ["status"] and about is None:
            raise ConfigError(f"status needs a run; python -m {NAME} lists them")
        show = chosen(about, given)
        watch(show) if flag(given, "watch") else tell(*show())


def option(word: str) -> bool:
    """Whether a word of the command line is one of our keys; a sweep's point is a folder with such a name too."""
    return word.partition("=")[0] in KEYS and "=" in word


def parsed(words: Sequence[str]) -> dict[str, str]:
    """Keys and values; ConfigError for a key that there is not."""
    given = {}
    for word in words:
        key, is_set, value = word.partition("=")
        if not is_set:
            raise ConfigError(f"{word!r} is not key=value; python -m {NAME} status RUN shows one run")
        if key not in KEYS:
            raise ConfigError(f"there is no {key} in {NAME}; {config.nearest(key, KEYS)}")
        given[key] = value
    return given


def flag(given: Mapping[str, str], key: str) -> bool:
    """A setting that is true or false."""
    value = given.get(key, "false")
    if value not in {"true", "false"}:
        raise ConfigError(f"{key} must be true or false, got {value}")
    return value == "true"


def chosen(about: str | None, given: Mapping[str, str]) -> Callable[[], tuple[str, list[str]]]:
    """What makes the page that is asked for, and the lines about what could not be read; called at every look."""
    folder = Path(given.get("dir", FOLDER))
    as_json, by = flag(given, "json"), given.get("sort")
    path = located(about, folder) if about is not None else folder
    if find.points(path):
        return lambda: results(path, by=by, as_json=as_json)
    if about is not None:
        if by is not None:
            raise ConfigError(f"sort={by} says nothing of one run; leave it out")
        return lambda: one(path, as_json=as_json)
    if not folder.is_dir():
        near = next((path for path in find.runs(Path(FOLDER).parent)), None) if "dir" not in given else None
        where = f"dir={Path(FOLDER).parent}" if near is not None else "dir=DIR, to where the runs are"
        raise ConfigError(f"dir={folder} is no folder; set {where}")
    return lambda: every(folder, by=by or "name", as_json=as_json)


def located(about: str, folder: Path) -> Path:
    """The folder of a run or a sweep, by its path or by its name in `folder`."""
    found = next((path for path in (Path(about), folder / about) if path.is_dir()), None)
    if found is None:
        names = [str(path.relative_to(folder)) for path in find.runs(folder)]
        hint = config.nearest(about, names) if names else f"there is none in {folder}; dir=DIR says where they are"
        raise ConfigError(f"there is no run {about}; {hint}")
    if not find.points(found) and not find.is_run({path.name for path in found.iterdir()}, found):
        raise ConfigError(f"{found} is not the folder of a run; python -m {NAME} dir={found} lists those below it")
    return found


def every(folder: Path, *, by: str, as_json: bool) -> tuple[str, list[str]]:
    """All runs in a folder."""
    if by not in listing.SORTS:
        raise ConfigError(f"runs cannot be sorted by {by}; {config.nearest(by, listing.SORTS)}")
    runs, said = summary.below(folder)
    runs = listing.ordered(runs, by=by)
    if as_json:
        return json.dumps([run.values() for run in runs]), said
    return "\n".join(listing.page(runs, width=width())) or f"no runs in {folder}; dir=DIR says where they are", said


def results(folder: Path, *, by: str | None, as_json: bool) -> tuple[str, list[str]]:
    """The results of a sweep."""
    points, said = sweep.read(folder)
    keys = [*sweep.keys(points), *sweep.RESULTS]
    if by is not None and by not in keys:
        raise ConfigError(f"the sweep cannot be sorted by {by}; {config.nearest(by, keys)}")
    points = sweep.ordered(points, by=by or keys[0])
    best = sweep.best(points)
    if as_json:
        return json.dumps([{**point.values(), "best": point is best} for point in points]), said
    return "\n".join(sweep.page(points, width=width())), said


def one(path: Path, *, as_json: bool) -> tuple[str, list[str]]:
    """One run."""
    found, said = summary.of([path], names=[path.name], whole=True)
    if as_json:
        return json.dumps({**found[0].values(), "restarts": list(found[0].record.restarts)}), said
    lines, more = status.page(found[0], width=width())
    return "\n".join(lines), [*said, *more]


def width() -> int | None:
    """Letters of a line of the terminal; None for a file or a pipe, which take all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def tell(page: str, said: Sequence[str]) -> None:
    """Show a page; what could not be read goes to standard error."""
    log.say(page)
    lines = list(dict.fromkeys(said))
    for line in lines[:WARNINGS]:
        log.get(NAME).warning("%s", line)
    if len(lines) > WARNINGS:
        log.get(NAME).warning("and %d more lines of this kind", len(lines) - WARNINGS)


def watch(show: Callable[[], tuple[str, list[str]]]) -> None:
    """Show a page anew every few seconds, until ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            page, said = show()
            tell(CLEAR + page if sys.stdout.isatty() else page, said)
            time.sleep(EVERY)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1:])
