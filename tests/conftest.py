"""Every test sees eight virtual CPU devices, and programs that compile fast rather than run fast."""

import os

# Before the first import of jax: the backend reads these once.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests run each program once or twice: compiling is what they wait for.
jax.config.update("jax_disable_most_optimizations", True)
