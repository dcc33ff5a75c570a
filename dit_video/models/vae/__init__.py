"""The causal video autoencoder."""

from dit_video.models.vae.vae import VAE, Posterior

__all__ = ["VAE", "Posterior"]
