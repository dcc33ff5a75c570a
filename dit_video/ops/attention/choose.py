"""Which backend attends: the fastest that is there and suits device and precision, told once in one line.

The order is that of what is published for each: FlashAttention 4 on Blackwell, 3 on Hopper, 2 before torch's own kernel
of the same kind, SDPA for all else. `named` takes one by its name, and says why where it cannot be had.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import torch

from dit_video import log
from dit_video.errors import ConfigError
from dit_video.ops.attention import ragged
from dit_video.ops.attention.segmented import segmented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dit_video.ops.attention import Attention

HALF = (torch.bfloat16, torch.float16)


class Backend(NamedTuple):
    """An attention, the module that it needs, and the generations of GPUs it is chosen on, first and one after last."""

    attend: Attention
    module: str | None = None
    since: int = 0
    until: int = 100


BACKENDS: dict[str, Backend] = {
    "flash4": Backend(ragged.flash4, "flash_attn.cute", 10),
    "flash3": Backend(ragged.flash3, "flash_attn_interface", 9, 10),
    "flash2": Backend(ragged.flash2, "flash_attn.flash_attn_interface", 8),
    "varlen": Backend(ragged.varlen, "torch.nn.attention.varlen", 8),
    "segmented": Backend(segmented),
}
AUTO = "auto"


def attention(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """Softmax attention within segments, by the backend that suits the device, in the precision of the values.

    Under autocast a norm gives float32: q and k, which are normed, would keep half precision from its kernel.
    """
    q, k = q.to(v.dtype), k.to(v.dtype)
    return BACKENDS[chosen(v.device, v.dtype)].attend(q, k, v, q_lengths, k_lengths)


def named(name: str) -> Attention:
    """The attention of a name, or `attention` for "auto"; ConfigError for a name that is none."""
    if name == AUTO:
        return attention
    if name not in BACKENDS:
        raise ConfigError(f"attention={name} must be one of {', '.join([AUTO, *BACKENDS])}")

    def attend(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        if (why := lacking(name, v.device, v.dtype)) is not None:
            raise ConfigError(f"attention={name} cannot be had: {why}; set attention=auto")
        return BACKENDS[name].attend(q.to(v.dtype), k.to(v.dtype), v, q_lengths, k_lengths)

    return attend


@cache
def chosen(device: torch.device, kind: torch.dtype) -> str:
    """The name of the first backend that suits; said once."""
    reasons: list[str] = []
    for name, backend in BACKENDS.items():
        why = lacking(name, device, kind) or unfit(backend, device)
        if why is None:
            text = f"attention on {device} in {kind}: {name}"
            log.get("dit_video.ops").info("%s", text + (f" ({'; '.join(reasons)})" if reasons else ""))
            return name
        if device.type == "cuda":
            reasons.append(f"not {name}: {why}")
    raise AssertionError("segmented suits everything")


@cache
def lacking(name: str, device: torch.device, kind: torch.dtype) -> str | None:
    """Why a backend cannot run there; None where it can."""
    module = BACKENDS[name].module
    if module is None:
        return None
    if device.type != "cuda":
        return f"it runs on GPUs, and this is {device.type}"
    if kind not in HALF:
        return f"it computes in half precision, and this is {kind}"
    return None if installed(module) else f"there is no {module}"


def installed(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def unfit(backend: Backend, device: torch.device) -> str | None:
    """Why a backend is not chosen for a GPU, though it may run."""
    if backend.module is None:
        return None
    major = torch.cuda.get_device_capability(device)[0]
    return None if backend.since <= major < backend.until else f"compute capability {major}"
