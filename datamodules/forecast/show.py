"""What `run.plan=true` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datamodules.forecast.forecast import fits, forecast
from datamodules.forecast.page import document, page
from dit_video import log
from dit_video.config import Run
from dit_video.errors import ConfigError
from dit_video.parallel.plan import Plan


def show(run: Run, *, data: Any, task: Any, plan: Plan | None, settings: Mapping[str, Any]) -> None:
    """Print the plan of a run with these `settings`, for as many ranks as it asks for.

    ConfigError after that where a rank has less memory than it needs.
    """
    trainer = settings["trainer"]
    devices, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes", 1)
    if run.ranks is None and not (isinstance(devices, int) and devices > 0):
        raise ConfigError(f"trainer.devices={devices} says nothing about other machines; add run.ranks=N to run.plan")
    found = forecast(
        data,
        task,
        name=run.name,
        samples=run.samples,
        ranks=run.ranks or devices * nodes,
        plan=plan,
        sizes=settings["datamodules"].get("sizes"),
        precision=trainer.get("precision", "32-true"),
        gpu=trainer.get("accelerator") in ("gpu", "cuda"),
        averages=bool((settings.get("callbacks") or {}).get("ema")),
        tflops=run.tflops,
    )
    log.say(document(found) if run.plan == "json" else page(found))
    fits(found, gigabytes=run.memory_gb)
