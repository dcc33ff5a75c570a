"""train.py with the fakes beside it allowed as targets."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parents[1])
sys.path.insert(1, str(HERE))

from dit_video.signals import LISTENER, STOPPING  # noqa: E402

if __name__ == "__main__":
    LISTENER.listen(*STOPPING)

import train  # noqa: E402
from dit_video.config import ALLOWED  # noqa: E402

if __name__ == "__main__":
    train.main(sys.argv[1:], allowed=(*ALLOWED, "fake."))
