"""The programs of the demo."""

from scripts import demo


def test_the_second_training_resumes_the_first(tmp_path):
  stages = demo.make_stages(tmp_path)
  first, second = (stages[name].command for name in ("training", "training, resumed"))
  assert stages["training, resumed"].after == ["training"]
  differing = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
  assert differing == [tuple(f"--override=*:config.train.num_steps={n}" for n in demo.STEPS)]
