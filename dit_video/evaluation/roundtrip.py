"""A video through a VAE and back, frame by frame beside the original.

- A VAE that streams both ways is given the video piece by piece, so that memory does not grow with its length. Others
  encode a clip at once.
- Frames that a VAE cannot take are made fit: the last is repeated until there are 1 + k*time, and borders until the
  sides divide. What was added is cut off again, and no figure is of it.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from dit_video.pipeline.generate import to_frames, to_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from dit_video.models.vae import Posterior
    from dit_video.shapes import Compression

    Frame = NDArray[np.uint8]

PIECE = 4  # latent frames of a piece, but for the first


class Autoencoder(Protocol):
    """What is evaluated; ours have `stream_encode(videos)` too, and take a `tile=` for both streams."""

    @property
    def compression(self) -> Compression:
        """Frames and pixels a latent position stands for."""
        ...

    @property
    def mean(self) -> Tensor:
        """Of the latent's channels; it lies where the model does."""
        ...

    def posterior(self, video: Tensor) -> Posterior:
        """Distribution of the latent of a video (b, 3, 1 + k*time, h, w) in [-1, 1], not normalised."""
        ...

    def normalise(self, latent: Tensor) -> Tensor:
        """What `encode` does with the posterior's mean."""
        ...

    @property
    def stream_decode(self) -> Callable[..., Iterator[Tensor]]:
        """Takes normalised latents that come in pieces; gives their videos."""
        ...


def fitted(frames: Frame, *, time: int, space: int, starts: bool) -> Frame:
    """Frames (t, h, w, 3) repeated at the end and at the borders until a VAE can take them, as a start or a rest."""
    count, height, width = frames.shape[:3]
    missing = -(count - 1 if starts else count) % time
    edges = ((0, missing), (0, -height % space), (0, -width % space), (0, 0))
    return np.pad(frames, edges, mode="edge") if any(end for _, end in edges) else frames


def pieces(frames: Iterable[Frame], *, first: int, rest: int) -> Iterator[Frame]:
    """Arrays (t, h, w, 3) of `first` frames and then of `rest`; the last may have fewer."""
    source, size = iter(frames), first
    while part := list(islice(source, size)):
        yield np.stack(part)
        size = rest


@torch.inference_mode()
def copies(
    vae: Autoencoder,
    frames: Iterable[Frame],
    *,
    posterior: Callable[[Posterior], None],
    latent: Callable[[Tensor], None],
    tile: int | None = None,
) -> Iterator[tuple[Frame, Frame]]:
    """Each frame (h, w, 3) with its copy.

    Args:
        vae: the autoencoder.
        frames: of one video, of one size.
        posterior: is told the distribution of the clip's latent, of a stream that of its first piece.
        latent: is told the normalised latent, piece by piece.
        tile: pixels a side of the tiles that a VAE which streams cuts larger frames into.
    """
    waiting: deque[Frame] = deque()
    time, space = vae.compression.time, vae.compression.space
    stream = getattr(vae, "stream_encode", None)
    first, rest = (1 + PIECE * time, PIECE * time) if stream else (1 << 30, 1)
    tiles = {"tile": tile} if stream else {}

    def videos() -> Iterator[Tensor]:
        for number, piece in enumerate(pieces(frames, first=first, rest=rest)):
            waiting.extend(piece)
            whole = fitted(piece, time=time, space=space, starts=number == 0)
            yield to_pixels(whole)[None].to(vae.mean.device)

    def encoded() -> Iterator[Tensor]:
        if stream is None:
            for video in videos():
                found = vae.posterior(video)
                posterior(found)
                yield vae.normalise(found.mean)
        else:
            seen = tapped(videos(), lambda video: posterior(vae.posterior(middle(video, tile, space=space))))
            yield from stream(seen, **tiles)

    for video in vae.stream_decode(tapped_all(encoded(), latent), **tiles):
        for copy in to_frames(video[0])[: len(waiting)]:
            frame = waiting.popleft()
            yield frame, copy[: frame.shape[0], : frame.shape[1]]
    assert not waiting, "a VAE gave back fewer frames than it was given"


def middle(video: Tensor, tile: int | None, *, space: int) -> Tensor:
    """The middle of larger frames, a tile a side."""
    if tile is None:
        return video
    starts = [max(side - tile, 0) // 2 // space * space for side in video.shape[-2:]]
    size = tile // space * space
    return video[..., starts[0] : starts[0] + size, starts[1] : starts[1] + size]


def tapped(videos: Iterator[Tensor], told: Callable[[Tensor], None]) -> Iterator[Tensor]:
    """The same, the first of which is told."""
    for number, video in enumerate(videos):
        if number == 0:
            told(video)
        yield video


def tapped_all(latents: Iterator[Tensor], told: Callable[[Tensor], None]) -> Iterator[Tensor]:
    """The same, all of which are told, cut into single frames so that they are decoded as they come."""
    for latent in latents:
        told(latent)
        yield from latent.split(1, dim=2)
