"""Latents: small images that stand for large ones, and the networks between the two."""
