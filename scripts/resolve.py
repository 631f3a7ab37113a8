"""Shows that the requirements can be installed on machines that are not at hand; downloads nothing but metadata.

python scripts/resolve.py [--platform=macosx_14_0_arm64 --platform=manylinux_2_28_aarch64]
"""

import configparser
import json
import pathlib
import subprocess
import sys
import tempfile

from absl import flags
from packaging.requirements import Requirement

from lumiere import cli

# pip's platform tags -> what markers see there.
PLATFORMS = {
  "macosx_14_0_arm64": {"sys_platform": "darwin", "platform_machine": "arm64"},
  "manylinux_2_28_aarch64": {"sys_platform": "linux", "platform_machine": "aarch64"},
  "manylinux_2_28_x86_64": {"sys_platform": "linux", "platform_machine": "x86_64"},
}
# Published as source alone, but pure Python: a wheel built here serves everywhere.
PURE = ("promise",)
ROOT = pathlib.Path(__file__).parents[1]


def main():
  """Resolves for each platform and prints the number of packages, or pip's complaint."""
  parser = configparser.ConfigParser()
  parser.read(ROOT / "setup.cfg")
  lines = parser["options"]["install_requires"].splitlines()
  requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
  for platform in flags.FLAGS.platform:
    if platform not in PLATFORMS:
      raise ValueError(f"--platform={platform} must be one of {', '.join(PLATFORMS)}")
    # pip evaluates markers for the machine that it runs on.
    wanted = []
    for requirement in requirements:
      if requirement.marker is None or requirement.marker.evaluate(PLATFORMS[platform]):
        requirement.marker = None
        wanted.append(str(requirement))
    print(f"{platform}: {resolve(platform, wanted)} packages")


def resolve(platform: str, requirements: list[str]) -> int:
  """Packages that pip would install there; raises RuntimeError if it finds none that go together."""
  with tempfile.TemporaryDirectory() as folder:
    report = pathlib.Path(folder) / "report.json"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    constraint = f"--constraint={ROOT / 'constraints.txt'}"
    built = [*pip, "wheel", "--no-deps", constraint, f"--wheel-dir={folder}", *PURE]
    subprocess.run(built, check=True, capture_output=True)
    command = [*pip, "install", f"--find-links={folder}", constraint]
    command += ["--dry-run", "--ignore-installed", "--only-binary=:all:", f"--platform={platform}"]
    # Wheels for older systems run on newer ones, too.
    if platform.startswith("macosx"):
      command += [f"--platform=macosx_{version}_0_arm64" for version in (11, 12, 13)]
    else:
      command += [platform.replace("manylinux_2_28", f"--platform={tag}") for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_27")]  # fmt: skip
    command += [
      f"--target={folder}",
      f"--report={report}",
      f"--constraint={ROOT / 'constraints.txt'}",
    ]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True)
    if done.returncode:
      errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
      raise RuntimeError(f"{platform}: {' '.join(errors)}")
    return len(json.loads(report.read_text())["install"])


if __name__ == "__main__":
  flags.DEFINE_multi_string("platform", list(PLATFORMS), "Tag of a platform, as pip knows it.")
  cli.run(main)
