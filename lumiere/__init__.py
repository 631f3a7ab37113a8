"""The open Lumiere: text to video. `lumiere.Cascade` samples from trained checkpoints; train.py trains them."""

from etils import epy

# Lazily, so that a command line can check its flags before JAX is imported.
with epy.lazy_api_imports(globals()):
  from lumiere.sampling.cascade import Cascade

__all__ = ["Cascade"]
