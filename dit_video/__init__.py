"""dit-video: train a video autoencoder, a recaptioner and a diffusion transformer, and sample from them."""
