"""Weights & Biases, offline unless asked otherwise: no account, network or prompt, nothing outside the run.

- A resumed run goes on under the id of the first part, which wandb's own folder in the run's is named by; `wandb sync`
  puts the parts together.
- Offline, wandb's reports of its own errors are off (they look a host up), and so is the list of installed packages.
- It costs about 1.2 CPU-seconds at the start, and half a millisecond a step.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment

from dit_video.errors import ConfigError


class Wandb(WandbLogger):
    """The logger of a run in `dir`, whose files lie in `dir`/wandb.

    Args:
        dir: folder of the run.
        name: what the run is called there.
        project: the group of runs it belongs to.
        offline: write files alone; `wandb sync` uploads them later.
    """

    def __init__(
        self,
        *,
        dir: str,  # noqa: A002 - the folder of the run, as everywhere
        name: str,
        project: str = "dit-video",
        offline: bool = True,
    ) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise ConfigError("wandb is not installed; set logger=csv, or: pip install wandb")
        super().__init__(name=name, project=project, save_dir=dir, id=begun(Path(dir)), offline=offline)
        self.folder = Path(dir)
        self._experiment: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of wandb, begun at the first use; ConfigError where wandb cannot."""
        if self._experiment is None:
            os.environ.setdefault("WANDB_CACHE_DIR", str(self.folder / "wandb" / "cache"))
            if self._offline:
                os.environ["WANDB_ERROR_REPORTING"] = "false"
            import wandb

            try:
                self._experiment = self.begin(wandb)
            except wandb.errors.Error as error:
                mend = "set logger=csv" if self._offline else "run `wandb login`, or set logger.offline=true"
                raise ConfigError(f"wandb did not start: {str(error).rstrip('.')}; {mend}") from error
        return self._experiment

    def begin(self, wandb: Any) -> Any:
        """A run whose steps are samples seen; the files are the run's own, or uploaded as they come."""
        about: dict[str, Any] = {"dir": str(self.folder), "id": self._id, "name": self._name, "project": self._project}
        if self._offline:
            settings = wandb.Settings(silent=True, console="off", x_save_requirements=False)
            return wandb.init(**about, mode="offline", settings=settings)
        return wandb.init(**about, resume="allow", settings=wandb.Settings(console="off"))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Figures or videos at `step` samples seen."""
        self.experiment.log(dict(metrics), step=step)

    def finalize(self, status: str) -> None:
        """Close the run, so that nothing of it is left behind, and a second one in this process is its own."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(status != "success"))
        self._experiment = None


def begun(folder: Path) -> str | None:
    """The id of the run that an earlier process has begun in `folder`, or None."""
    parts = sorted((folder / "wandb").glob("*run-*-*"))
    return parts[0].name.rpartition("-")[2] if parts else None
