"""Processes that begin with torch, lightning and train.py imported: a fork costs 20 ms where the imports cost 5 s."""

from __future__ import annotations

import multiprocessing
import os
from functools import cache
from multiprocessing import forkserver
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = multiprocessing.get_context("forkserver")


@cache
def warm() -> None:
    """Wait until the server has made its imports, so that no measurement has them."""
    process = ready().Process(target=int)
    process.start()
    process.join()


def ready() -> multiprocessing.context.ForkServerContext:
    """The context of the one server of this process, which lives as long as it."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[2]), str(HERE.parent), *filter(None, [before])])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        SERVER.set_forkserver_preload(["fake.preload"])
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return SERVER
