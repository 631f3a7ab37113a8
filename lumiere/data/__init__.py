"""Data: TFDS builders, the loader, and frames to and from the outside."""
