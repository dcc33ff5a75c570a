"""Sizes are values that own their arithmetic: pixels, latents and tokens are converted here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from dit_video.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How many frames and pixels one latent position stands for; `channels` is the latent's width."""

    time: int
    space: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class LatentShape:
    """Size of a latent clip: `frames` latent frames, the first of which stands for one video frame alone."""

    frames: int
    height: int
    width: int

    def to_video(self, compression: Compression) -> VideoShape:
        """The video that a causal decoder makes of this latent."""
        return VideoShape(
            frames=1 + (self.frames - 1) * compression.time,
            height=self.height * compression.space,
            width=self.width * compression.space,
        )

    def tokens(self, patch: int) -> int:
        """Tokens after patches of `patch` x `patch` latents, one frame deep."""
        if self.height % patch or self.width % patch:
            raise ShapeError(
                f"a latent of {self.height}x{self.width} does not divide into patches of {patch}; "
                "change models.dit.patch or the bucket's size"
            )
        return self.frames * (self.height // patch) * (self.width // patch)


@dataclass(frozen=True, kw_only=True, order=True)
class VideoShape:
    """Size of a clip in frames and pixels; an image has one frame."""

    frames: int
    height: int
    width: int

    def to_latent(self, compression: Compression) -> LatentShape:
        """The latent that a causal encoder makes of this clip: 1 + k * time frames become 1 + k."""
        if (self.frames - 1) % compression.time:
            raise ShapeError(f"frames must be 1 + k*{compression.time}, got {self.frames}")
        if self.height % compression.space or self.width % compression.space:
            raise ShapeError(
                f"height and width must be multiples of {compression.space}, got {self.height}x{self.width}"
            )
        return LatentShape(
            frames=1 + (self.frames - 1) // compression.time,
            height=self.height // compression.space,
            width=self.width // compression.space,
        )

    @property
    def pixels(self) -> int:
        """Pixels of the whole clip."""
        return self.frames * self.height * self.width

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"
