"""Video in, description out: an encoder of glances, a resampler to a few slots, a causal decoder of text."""

from dit_video.models.recaptioner.recaptioner import Recaptioner

__all__ = ["Recaptioner"]
