"""Every test sees eight virtual CPU devices, and programs that compile fast rather than run fast.

As environment variables, so that the processes which tests start see the same.
"""

import os
import shutil
import sys
import tempfile

assert "jax" not in sys.modules, "JAX reads its settings when it is first imported"
# Programs that several tests compile are compiled once, also by several workers; they end with the tests, where no folder
# is given that outlives them.
OWN_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  OWN_CACHE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lumiere_tests_")
os.environ |= dict(
  JAX_PLATFORMS="cpu",
  JAX_NUM_CPU_DEVICES="8",
  # Threads that XLA compiles and computes with: tests run side by side, a worker a core.
  NPROC="1",
  JAX_NUMPY_RANK_PROMOTION="raise",
  # Tests run each program once or twice: compiling is what they wait for.
  JAX_DISABLE_MOST_OPTIMIZATIONS="1",
  # A step of many small operations compiles a third faster so.
  XLA_FLAGS=(
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
    " --xla_cpu_parallel_codegen_split_count=1"
  ),
  TF_CPP_MIN_LOG_LEVEL="3",
)

import pytest  # noqa: E402


def pytest_configure(config):
  """Imports what is large, but not in a process that only hands tests out to workers."""
  if getattr(config.option, "numprocesses", None):
    return
  # Before our own modules: what those import, the hook of jaxtyping compiles anew, without Python's cache of byte code.
  import grain  # noqa: F401
  import orbax.checkpoint  # noqa: F401
  import tensorboardX  # noqa: F401
  import tensorflow_datasets  # noqa: F401

  config.pluginmanager.import_plugin("tests.lumiere.runs")


def pytest_collection_modifyitems(items):
  """What takes longest first: no worker is to be left with it at the end, or to wait for what another one trains."""
  first = ("test_processes", "/training/", "test_mesh", "notebooks")
  items.sort(key=lambda item: [part not in item.nodeid for part in first])


def pytest_unconfigure():
  if OWN_CACHE:  # in the process that the workers work for: they are given it
    shutil.rmtree(OWN_CACHE, ignore_errors=True)


@pytest.fixture(params=["today", "announced"])
def flax_defaults(request):
  """Flax's defaults of today and those that it announces: what works in both modes keeps working."""
  from flax import nnx

  graph = request.param == "today"
  with nnx.set_graph_mode(graph), nnx.set_graph_updates(graph):
    yield
