"""Checkpoints: folders named SAMPLES-STEP that are whole or are not there.

- Tensors lie in torch.distributed.checkpoint files under fixed names: `model.*`, `ema.*`, `optimizer.*`, `guard.*`.
- Beside them: the resolved `config.yaml`, and `manifest.json` with step, samples seen, the dataset's fingerprint,
  and size and SHA-256 of every other file.
- Written under a temporary name, synced, renamed, and the parent folder synced: a kill at any moment leaves the
  ones before. Every process writes its own part of the state, and hashes it as it goes.
- The latest is the newest folder whose manifest verifies. Nothing is read from a folder that does not.
- No object is unpickled but the index of tensors, and that by a list of allowed names: a checkpoint cannot run code.
"""

from dit_video.checkpoint.folder import Rule, latest, prune, save
from dit_video.checkpoint.lock import lock
from dit_video.checkpoint.manifest import Progress, progress
from dit_video.checkpoint.saver import Saver
from dit_video.checkpoint.state import optimizer_state
from dit_video.checkpoint.tensors import Source, load, weights

__all__ = [
    "Progress",
    "Rule",
    "Saver",
    "Source",
    "latest",
    "load",
    "lock",
    "optimizer_state",
    "progress",
    "prune",
    "save",
    "weights",
]
