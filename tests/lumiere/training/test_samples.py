"""Sample sheets are for looking at: one that cannot be made does not end a training."""

from lumiere.sampling.generator import Generator, SamplingError
from lumiere.training import samples
from lumiere.training.stages import Stage
from lumiere.training.writers import metric_writers
from tests.lumiere.experiments import micro


def test_samples_that_are_not_finite_are_left_out_with_a_warning(tmp_path, monkeypatch, caplog):
  stage = Stage(micro("ssr_image", tmp_path / "data"))
  generator = Generator(stage.experiment, 3, lambda *_: None, {}, {})

  def broken(*_):
    raise SamplingError("the super-resolution is not finite")

  monkeypatch.setattr(generator, "encode_batch", lambda batch: {})
  monkeypatch.setattr(generator, "sample", broken)
  samples.write(stage, generator, tmp_path, metric_writers.LoggingWriter())
  assert "No samples at step 3: the super-resolution is not finite" in caplog.text
  assert not (tmp_path / "samples").exists()
