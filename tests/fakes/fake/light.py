"""A rank without torch that keeps the parent's contract, in a tenth of a second: it beats, steps, saves, and fails.

python light.py FOLDER STEPS SAVE_EVERY KIND:RANK:STEP:once|always ...
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent)]

from dit_video.errors import ConfigError  # noqa: E402
from dit_video.launch import heartbeat, report  # noqa: E402
from dit_video.signals import LISTENER, REQUEUE, STOPPING  # noqa: E402
from fake import faults  # noqa: E402

PAUSE = 0.01  # seconds a step


def main(folder: Path, steps: int, every: int, faulty: list[str]) -> int:
    """Step by step from the newest checkpoint; the ranks wait for each other by files, as by collectives."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    started = max((int(path.name.split("-")[1]) for path in folder.glob("checkpoints/*")), default=0)
    sys.stderr.write(f"rank {rank} begins at {started}\n")
    if "early" in faulty:  # stopped before it has come to a step
        return REQUEUE
    for step in range(started + 1, steps + 1):
        heartbeat.mark("start" if step == started + 1 else "step", step)
        time.sleep(PAUSE)
        for item in (item for item in faulty if ":" in item):
            kind, who, at, how = item.split(":")
            if (rank, step) == (int(who), int(at)):
                marker = folder / f"{kind}-{who}-{at}"
                if kind == "mistake":
                    raise ConfigError("x.y is 3; set it to 4")
                if kind == "saving":  # it fails while a save is under way, which outlasts the parent's patience
                    report.write(ConfigError("x.y is 3; set it to 4"))
                    with heartbeat.within("save"):
                        time.sleep(7)
                    (folder / "saved").touch()
                    raise ConfigError("x.y is 3; set it to 4")
                if kind == "port" and not marker.exists():
                    marker.touch()
                    raise RuntimeError("The server socket has failed to listen; code: -98, name: EADDRINUSE")
                if kind in faults.FAULTS:
                    faults.fail_once(kind, marker=marker if how == "once" else None)
        heartbeat.completed(step)
        meet(folder, rank, size, step)
        if LISTENER.code and "deaf" not in faulty:
            return LISTENER.code
        if step % every == 0 and rank == 0:
            (folder / "checkpoints" / f"{step:012d}-{step:08d}").mkdir(parents=True, exist_ok=True)
        heartbeat.mark("data", step)
    return 0


def meet(folder: Path, rank: int, size: int, step: int) -> None:
    """Go on when all ranks are here; fail as torch does where one of them has ended."""
    run = os.environ.get("MASTER_PORT", "0")
    (folder / f".at-{run}-{step}-{rank}").touch()
    while not all((folder / f".at-{run}-{step}-{other}").exists() for other in range(size)):
        time.sleep(0.005)
        for other in range(size):
            process = folder / f".process-{run}-{other}"
            if process.exists() and not alive(int(process.read_text() or "0")):
                raise RuntimeError("[pair.cc] Connection closed by peer [127.0.0.1]:1")


def alive(process: int) -> bool:
    """Whether a process still runs; 0 is one that is just being told of."""
    try:
        return not process or Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it has just gone
        return False


if __name__ == "__main__":
    heartbeat.begin()
    LISTENER.listen(*STOPPING, *([signal.SIGINT] if "deaf" in sys.argv else []))
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    (place / f".process-{os.environ.get('MASTER_PORT', '0')}-{os.environ.get('RANK', '0')}").write_text(
        str(os.getpid())
    )
    with report.reporting():
        raise SystemExit(main(place, int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
