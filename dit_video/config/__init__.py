"""Settings are checked before anything heavy is imported: names, types and required arguments, in well under a second.

- The constructor is the schema. `models.dit.width=64` becomes `++models.dit.width=64` for Hydra, so that a setting
  need not be repeated in YAML to be set; then every `_target_` node is held against the signature read from the source.
- Only targets under `ALLOWED` are accepted, and the definition they lead to must stand there too.
- Whatever a user can get wrong is one line on standard error and exit code 2.
- A resumed run must have the settings of the saved one, but for the keys that the command lets differ.
- Nothing here imports Hydra: the three commands do.
"""

from dit_video.config.check import ALLOWED, check, check_groups, missing, targets
from dit_video.config.compare import Allowed, Change, as_before, changed
from dit_video.config.mistakes import nearest, one_line, show
from dit_video.config.overrides import MULTIRUN, chosen, groups, options, quote, rewrite, top_level
from dit_video.config.resolve import resolve
from dit_video.config.run import Run
from dit_video.config.saved import complete, same
from dit_video.config.types import MISSING, mismatch

__all__ = [
    "ALLOWED",
    "MISSING",
    "MULTIRUN",
    "Allowed",
    "Change",
    "Run",
    "as_before",
    "changed",
    "check",
    "check_groups",
    "chosen",
    "complete",
    "groups",
    "mismatch",
    "missing",
    "nearest",
    "one_line",
    "options",
    "quote",
    "resolve",
    "rewrite",
    "same",
    "show",
    "targets",
    "top_level",
]
