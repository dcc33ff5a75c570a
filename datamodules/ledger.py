"""Which samples a run was trained on, and when: found from its settings and the index alone, without any log.

    python -m datamodules.ledger run=RUN steps=A:B
    python -m datamodules.ledger run=RUN find=KEY,KEY | find=@FILE [until=STEP]

- `steps` lists the samples of steps A to B - 1, a line a sample, as CSV.
- `find` lists every time a sample was trained on, up to where the run stands: the step of its newest checkpoint. A
  sample that was not has a line that says why. A name is a key, or a source, which stands for all samples cut from it;
  a file has a name a line: a take-down list.
- The dataset must be the one of the run, by its fingerprint; `dataset` says where it lies now, if it has moved. The
  order must have as many samples up to the newest checkpoint as that counts. Else nothing is listed.
- Damaged samples are in their places, though they had weight 0.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from datamodules import commands
from datamodules.files import storage
from dit_video import checkpoint, config, log
from dit_video.checkpoint.folder import candidates
from dit_video.errors import CheckpointError, ConfigError, DataError
from dit_video.seeds import uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.clips import ClipData
    from datamodules.dataset.captions import Captions
    from datamodules.latents import LatentData
    from datamodules.order.packs import Items
    from datamodules.order.steps import Window

    Data = LatentData | ClipData

KINDS = ("datamodules.latents.LatentData", "datamodules.clips.ClipData")
COLUMNS = ("step", "samples_seen", "stream", "pack", "ordinal", "key", "dataset", "source", "caption")
NOWHERE = ("",) * 5
STATUS = "status"
TRAINED = "trained"


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Samples in the order they are trained on: `step`, `samples_seen` after it, `stream` and `pack` of each item."""

    step: NDArray[np.int64]
    samples_seen: NDArray[np.int64]
    stream: NDArray[np.int64]
    pack: NDArray[np.int64]
    items: Items


def ledger(
    *, run: str, steps: str | None = None, find: str | None = None, until: int | None = None, dataset: str | None = None
) -> None:
    """Print what a run was trained on as CSV: all samples of some steps, or all steps of some samples.

    Args:
        run: folder of a training run.
        steps: A:B, the steps A to B - 1.
        find: keys or sources with commas between, or @FILE with one a line.
        until: the step up to which `find` looks; by default that of the newest checkpoint.
        dataset: where the run's dataset lies now.
    """
    if (steps is None) == (find is None) or (until is not None and find is None):
        raise ConfigError("the ledger needs steps=A:B, or find=KEY and if need be until=STEP")
    first, last = span(steps) if steps is not None else (0, 0)
    names = wanted(find) if find is not None else []
    stand = standing(run)
    data = of_run(run, dataset=dataset)
    if stand is not None:
        agree(data, stand, run=run)
    if find is None:
        say([COLUMNS])
        for visits in between(data, first, last):
            say(lines(data, visits))
        return
    if until is None and stand is None:
        raise DataError(f"{run} has no checkpoint yet, so nothing says where it stands; add until=STEP")
    if until is None:
        assert stand is not None
        until = stand.step
    search(data, names, until=until)


def span(text: str) -> tuple[int, int]:
    """Steps A:B as two numbers."""
    matched = re.fullmatch(r"(\d+):(\d+)", text)
    if matched is None or int(matched[1]) >= int(matched[2]):
        raise ConfigError(f"steps={text} must be A:B with A below B, such as steps=0:100")
    return int(matched[1]), int(matched[2])


def wanted(text: str) -> list[str]:
    """The names of `find`, each once."""
    names = text.split(",")
    if text.startswith("@"):
        try:
            names = Path(text[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"find={text} cannot be read: {error}; a file has a key a line") from error
    found = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not found:
        raise ConfigError(f"find={text} names nothing; give keys with commas between, or @FILE")
    return found


def of_run(folder: str, *, dataset: str | None) -> Data:
    """The datamodule of a run, by its config.yaml."""
    from importlib import import_module

    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"run={folder} is not a training run: there is no {path}")
    node = OmegaConf.to_container(OmegaConf.load(path).datamodules, resolve=True)
    assert isinstance(node, dict)
    target = str(node.pop("_target_", None))
    if target not in KINDS:
        raise ConfigError(f"run={folder} was trained on {target}; the ledger knows {', '.join(KINDS)}")
    settings = {str(key): value for key, value in node.items()}
    if dataset is not None:
        if not isinstance(settings["dataset"], str):
            raise ConfigError(f"run={folder} has several datasets; they must lie where they lay, without dataset=")
        settings["dataset"] = dataset
    elif isinstance(settings["dataset"], str) and not storage.exists(storage.join(settings["dataset"], "dataset.json")):
        raise DataError(
            f"the dataset of {folder} is not in {settings['dataset']}; say where it lies now by dataset=DIR"
        )
    config.check({"datamodules": {"_target_": target, **settings}})
    module, _, name = target.rpartition(".")
    made: Data = getattr(import_module(module), name)(**settings)
    return made


def standing(folder: str) -> checkpoint.Progress | None:
    """Where a run stands, by its newest checkpoint that says so; None where it has none."""
    for path in candidates(Path(folder) / "checkpoints"):
        with suppress(CheckpointError):
            return checkpoint.progress(path)
    return None


def between(data: Data, first: int, last: int) -> Iterator[Visits]:
    """The samples of steps `first` to `last` - 1."""
    for window in data.plan.windows(first):
        visits = every(window)
        yield chosen(visits, (visits.step >= first) & (visits.step < last))
        if window.first + len(window) >= last:
            return


def every(window: Window, wanted: NDArray[np.bool_] | None = None) -> Visits:
    """The samples of a window, in the order of its steps and packs; of the rows `wanted` alone, where given."""
    from datamodules.order.packs import concatenated

    items = concatenated([part.items for part in window.parts])
    pack = np.repeat(np.arange(window.stream.size), np.concatenate([part.counts for part in window.parts]))
    if wanted is not None:
        hit = wanted[items.row]
        items, pack = items[hit], pack[hit]
    before = np.cumsum([0, *(len(part) for part in window.parts)])[:-1]
    starts = np.asarray([part.first for part in window.parts])
    place = np.empty(window.stream.size, np.int64)
    place[(before[window.stream] + window.number - starts[window.stream]).reshape(-1)] = np.arange(len(place))
    at = place[pack]
    order = np.argsort(at, kind="stable")
    items, at = items[order], at[order]
    step = at // window.stream.shape[1]
    return Visits(
        step=window.first + step,
        samples_seen=window.samples_seen[step],
        stream=window.stream.reshape(-1)[at],
        pack=window.number.reshape(-1)[at],
        items=items,
    )


def chosen(visits: Visits, rows: NDArray[np.bool_]) -> Visits:
    """Some of the visits."""
    return Visits(**{name: value[rows] for name, value in vars(visits).items()})


def search(data: Data, names: Sequence[str], *, until: int) -> None:
    """Print every visit to the named samples before step `until`, and why there was none; at the end how many."""
    asked, unknown = named(data, names)
    seen, count = np.zeros(len(data.index), np.bool_), 0
    say([(*COLUMNS, STATUS)])
    for window in data.plan.windows() if until else ():
        visits = every(window, asked)
        visits = chosen(visits, visits.step < until)
        seen[visits.items.row] = True
        count += len(visits.step)
        say((*line, TRAINED) for line in lines(data, visits))
        if window.first + len(window) >= until:
            break
    never = np.flatnonzero(asked & ~seen)
    reasons = [data.chosen.why(row) or f"not trained on before step {until}" for row in never.tolist()]
    say((*NOWHERE, *who, "", reason) for who, reason in zip(about(data, never), reasons, strict=True))
    say((*NOWHERE, name, "", "", "", "not in the dataset") for name in unknown)
    log.get("dit_video.datamodules").info(
        "%d of %d samples were trained on before step %d, %d times in all; %d names are not in the dataset",
        int(seen.sum()),
        int(asked.sum()),
        until,
        count,
        len(unknown),
    )


def agree(data: Data, stand: checkpoint.Progress, *, run: str) -> None:
    """DataError where the dataset is not that of the run, or the order found here has not as many samples up to now."""
    if stand.fingerprint != data.fingerprint:
        raise DataError(f"the dataset is not the one that {run} was trained on; give its own as dataset=DIR")
    window = next(data.plan.windows(max(stand.step - 1, 0)))
    samples = int(window.samples_seen[stand.step - 1 - window.first]) if stand.step else 0
    if samples != stand.samples_seen:
        raise DataError(
            f"step {stand.step} ends at {samples} samples here, the run's checkpoint counts {stand.samples_seen}: the "
            "order of data has changed since; take the version of dit-video that the run was trained with"
        )


def named(data: Data, names: Sequence[str]) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows bear one of the names, as their key or their source, and the names that none does."""
    from datamodules.dataset.columns import Texts

    given = Texts(list(names))
    keys, sources = data.index.key.places(given), data.index.source.places(given)
    known = np.zeros(len(names), np.bool_)
    known[keys[keys >= 0]] = known[sources[sources >= 0]] = True
    return (keys >= 0) | (sources >= 0), [name for name, there in zip(names, known.tolist(), strict=True) if not there]


def about(data: Data, rows: NDArray[np.int64]) -> Iterator[tuple[str, str, str]]:
    """Key, dataset and source of some rows."""
    found = data.index
    folders = [found.folders[at] for at in found.dataset[rows].tolist()]
    return zip(found.key.take(rows).to_list(), folders, found.source.take(rows).to_list(), strict=True)


def lines(data: Data, visits: Visits) -> Iterator[tuple[Any, ...]]:
    """A line for each of some visits."""
    places = (visits.step, visits.samples_seen, visits.stream, visits.pack, visits.items.ordinal)
    captions = drawn(data.captions, visits)
    for who, name, *place in zip(about(data, visits.items.row), captions, *(c.tolist() for c in places), strict=True):
        yield (*place, *who, name)


def drawn(captions: Captions, visits: Visits) -> list[str]:
    """The name of the caption that each sample had; "" where it was dropped."""
    names = list(captions.weights)
    known = np.stack([captions.texts[name].take(visits.items.row).known for name in names])
    dropped, level = np.zeros((2, len(visits.step)))
    for stream in np.unique(visits.stream).tolist():
        mine = visits.stream == stream
        ordinal = visits.items.ordinal[mine]
        dropped[mine] = uniform(captions.seed, "dropout", stream, ordinal)
        level[mine] = uniform(captions.seed, "caption", stream, ordinal)
    sums = np.cumsum(known * np.asarray([captions.weights[name] for name in names])[:, None], axis=0)
    last = len(names) - 1 - known[::-1].argmax(0)
    place = np.minimum((sums <= level * sums[-1]).sum(0), last)
    plain = (dropped < captions.dropout) | ~known.any(0)
    return ["" if gone else names[at] for gone, at in zip(plain.tolist(), place.tolist(), strict=True)]


def say(found: Iterable[Sequence[Any]]) -> None:
    """Lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(found)
    if text.getvalue():
        log.say(text.getvalue().removesuffix("\n"))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        commands.run("datamodules.ledger.ledger", sys.argv[1:], name="datamodules.ledger")
