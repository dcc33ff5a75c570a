"""What a video starts from or leads to, at the model's size and rate; frames are scaled as they are decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dit_video.media.fit import at_rate, cover
from dit_video.media.image import read_image
from dit_video.media.read import reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

Size = tuple[int, int]
Choose = Callable[[Size], Size]
"""The model's (height, width) for a native one."""


def still(path: str, *, choose: Choose) -> NDArray[np.uint8]:
    """An image as (1, h, w, 3); DataError where it cannot be read."""
    image = read_image(path)
    return cover(image, *choose((image.shape[0], image.shape[1])))[None]


def clip(path: str, *, choose: Choose, fps: float, to_last: bool) -> NDArray[np.uint8]:
    """A video as (t, h, w, 3) at `fps`, counted from its first frame, or with `to_last` back from its last.

    DataError where it cannot be read.
    """
    with reader(path) as (header, found):
        height, width = choose((header.height, header.width))
        shown = [(frame.time, cover(frame.image, height, width)) for frame in found]
    picks = at_rate(np.asarray([time for time, _ in shown]), fps=fps, to_last=to_last)
    return np.stack([shown[pick][1] for pick in picks])
