"""Who does the work: processes of this machine, or Apache Beam on a cluster.

A runner calls functions that need no arguments and return nothing: each writes one file, which a shared disk holds for all. They
can be pickled, and import neither JAX nor anything of training.
"""

import concurrent.futures
import dataclasses
import multiprocessing
from collections.abc import Callable, Sequence

from tqdm import tqdm

Tasks = Sequence[Callable[[], None]]
Runner = Callable[[Tasks, str], None]


@dataclasses.dataclass(frozen=True)
class Processes:
  """Calls the functions in so many processes, with a bar; the first error ends it."""

  workers: int = 1

  def __call__(self, tasks: Tasks, title: str):
    """Returns when all have been called."""
    with tqdm(total=len(tasks), desc=title, unit="file", disable=None) as progress:
      if self.workers == 1:
        for task in tasks:
          task()
          progress.update()
        return
      context = multiprocessing.get_context("spawn")
      with concurrent.futures.ProcessPoolExecutor(self.workers, mp_context=context) as pool:
        for done in concurrent.futures.as_completed(map(pool.submit, tasks)):
          done.result()
          progress.update()


@dataclasses.dataclass(frozen=True)
class Beam:
  """Calls the functions in a pipeline of Apache Beam.

  Attributes:
    runner: DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, ...
    options: further options of the pipeline, such as flink_master=host:8081.
  """

  runner: str
  options: tuple[str, ...] = ()

  def __post_init__(self):
    try:
      import apache_beam  # noqa: F401
    except ModuleNotFoundError as error:
      raise ValueError(
        f"--runner={self.runner} needs Apache Beam, in an environment of its own: python -m pip install -c constraints-beam.txt -e '.[beam]'"
      ) from error

  def __call__(self, tasks: Tasks, title: str):
    """Returns when all have been called; the first error ends it."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    if not tasks:
      return
    options = PipelineOptions(
      [f"--runner={self.runner}", *(f"--{option}" for option in self.options)]
    )
    with beam.Pipeline(options=options) as pipeline:
      # Without a reshuffle one worker would be given everything.
      _ = pipeline | title >> beam.Create(list(tasks)) | beam.Reshuffle() | beam.Map(call)


def call(task: Callable[[], None]):
  """Calls it."""
  task()
