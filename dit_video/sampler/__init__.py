"""Integrating a velocity from noise to data; it knows no network."""
