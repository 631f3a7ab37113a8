"""The open Lumiere: text to video. `lumiere.Cascade` samples from trained checkpoints; train.py trains them."""

from lumiere.cascade import Cascade

__all__ = ["Cascade"]
