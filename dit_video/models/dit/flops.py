"""What a clip costs a DiT, in closed form: the products of matrices of one forward, equal to torch's count of them.

- A multiplication with its addition counts as two FLOPs. Norms, gates and rotations are passes over memory and are not
  counted. A training step is three forwards: one more for each of the two gradients of a product.
- The share that is quadratic in the clip, 4 n n d a block, is what makes packs of equal tokens unequal in time.
- The sizes inside (of the MLP, of the embeddings) are repeated here, so that a cost needs no torch; a test holds them
  against the layers.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

LEVEL, PLACE = 128, 64  # features of a noise level and of a place in the frame

Count = TypeVar("Count", int, NDArray[np.int64])


def flops(*, tokens: Count, frames: Count, width: int, depth: int, words: int, text_width: int, inside: int) -> Count:
    """FLOPs of one forward of the DiT over one clip; numbers, or int64 arrays of one shape, a place a clip.

    Args:
        tokens: of the clip, n.
        frames: its latent frames: each has a noise level.
        width: of the tokens, d.
        depth: number of blocks.
        words: length of its text, l.
        text_width: of the text context.
        inside: numbers a token carries: channels * patch * patch.
    """
    d, inner = width, 32 * round(width * 8 / 3 / 32)
    block = tokens * (2 * d * (6 * d + 3 * inner)) + 4 * d * tokens * (tokens + words) + 4 * d * d * words
    token = 2 * d * (2 * inside + PLACE)
    frame = 2 * d * (LEVEL + 9 * d)
    text = 2 * d * (text_width * (words + 1) + d)
    return depth * block + tokens * token + frames * frame + text
