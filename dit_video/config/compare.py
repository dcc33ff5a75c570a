"""Whether a resumed run has the settings of the saved one, but for what may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

LITERAL, REPEATED, WITHIN = range(3)


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Keys that may differ: `a.b`, or `a.*` with all below it; `kept` ones may not although they lie below one."""

    keys: tuple[str, ...]
    kept: tuple[str, ...] = ()

    def __contains__(self, key: str) -> bool:
        """Whether all of `key` may differ."""
        free = any(key == item or (item.endswith(".*") and f"{key}.".startswith(item[:-1])) for item in self.keys)
        return free and not any(f"{key}.".startswith(f"{item}.") or item.startswith(f"{key}.") for item in self.kept)


class Change(NamedTuple):
    """A key, its value in the saved run, and its value now."""

    key: str
    before: object
    now: object


def as_before(raw: Any, saved: Any, *, allowed: Allowed, key: str = "") -> Any:
    """The unresolved settings `raw` with what may differ set back to the saved run's.

    Resolved, they are what the present command means but for that: `total: ${run.samples}` is the saved run's where
    `run.samples` may differ, while a value that the saved run had set and that is left out now stays left out.
    """
    if key in allowed:
        return saved
    if not (isinstance(raw, Mapping) and isinstance(saved, Mapping)):
        return raw
    below = {name: f"{key}.{name}" if key else str(name) for name in [*raw, *saved]}
    return {
        name: as_before(raw.get(name), saved.get(name), allowed=allowed, key=inner)
        for name, inner in below.items()
        if name in raw or inner in allowed
    }


def changed(saved: object, config: object, raw: object, *, allowed: Allowed) -> Change | None:
    """The difference between the settings `config` and the saved run's, both resolved, if one is not allowed.

    `raw` is `config` before interpolation: of several differences, one that is set where it stands is named rather than
    one that repeats it.
    """
    found = sorted(_differences(saved, config, raw, allowed=allowed), key=lambda item: item[0])
    return found[0][1] if found else None


def _differences(
    saved: object, config: object, raw: object, *, allowed: Allowed, key: str = "", rank: int = LITERAL
) -> Iterator[tuple[int, Change]]:
    """What differs and may not, and whether it is set where it stands, repeats another key, or lies within one."""
    if key in allowed:
        return
    own = max(rank, REPEATED if isinstance(raw, str) and "${" in raw else LITERAL)
    if isinstance(saved, Mapping) and isinstance(config, Mapping):
        for name in [*config, *(name for name in saved if name not in config)]:
            below = raw.get(name) if isinstance(raw, Mapping) else None
            inner = f"{key}.{name}" if key else str(name)
            within = WITHIN if own else LITERAL
            yield from _differences(saved.get(name), config.get(name), below, allowed=allowed, key=inner, rank=within)
    elif saved != config:
        yield own, Change(key, saved, config)
