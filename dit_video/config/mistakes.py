"""How a command ends when its user is mistaken: one line on standard error that says what to do, and exit code 2."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from dit_video import signals
from dit_video.errors import UserError

USER_ERROR = 2
INTERRUPTED = signals.INTERRUPTED
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


@contextmanager
def one_line(*, debug: bool = False) -> Iterator[None]:
    """Turn a user's mistake, and what Hydra and OmegaConf say of one, into one line and exit code 2.

    So is a disk that is full. An interrupt from the keyboard is one line and exit code 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        found = mistake(error)
        if debug or found is None:
            raise
        sys.stderr.write(f"error: {line(found)}\n")
        raise SystemExit(USER_ERROR) from None


def mistake(error: BaseException) -> BaseException | None:
    """The user's mistake behind an error: ours if there is one in the chain, else Hydra's or OmegaConf's complaint."""
    found = chain(error)
    for item in found:
        if isinstance(item, UserError):
            return item
    for item in found:
        if isinstance(item, OSError) and item.errno in DISK:
            where = f"{item.filename}: " if item.filename else ""
            if item.errno == errno.EROFS:
                return UserError(f"{where}{item.strerror}; choose a folder that can be written to")
            return UserError(f"{where}{item.strerror}; free some room, then the same command goes on")
    config = [item for item in found if type(item).__module__.split(".")[0] in {"hydra", "omegaconf"}]
    calls = [item for item in config if type(item).__name__ == "InstantiationException"]
    return config[0] if config and not calls else None


def chain(error: BaseException) -> list[BaseException]:
    """An error and those that led to it, the last one first."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def line(error: BaseException) -> str:
    """What an error says, in one line; Hydra's name the override at fault."""
    where = f"{override}: " if (override := getattr(error, "override", None)) else ""
    return where + " ".join(str(error).split())


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint: the nearest of `choices`, or all of them."""
    options = list(choices)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(options)}" if options else "it takes none"


def show(value: object) -> str:
    """A value in a message, not longer than it is worth; `Ema(half_life=8)` for what names a target."""
    if isinstance(value, Mapping) and "_target_" in value:
        settings = ", ".join(f"{key}={item}" for key, item in value.items() if key != "_target_")
        text = f"{str(value['_target_']).rpartition('.')[2]}({settings})"
    else:
        text = "null" if value is None else repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else text[:57] + "..."
