"""The diffusion transformer on packed spacetime patches."""

from dit_video.models.dit.dit import DiT

__all__ = ["DiT"]
