"""Prompts: how they are read, and, where they change along time, the prompt of each window of a clip.

A timed prompt holds from its frame to that of the next one. A window has the prompt that holds at its middle. Around a change,
over the length of a window, it has both: their caption states are mixed, with shares that go linearly from one to the other.
Where windows overlap, their predictions are averaged at every sampling step (MultiDiffusion with one prompt per window), so
that one scene fades into the next.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence

from multidiffusion.windows import WindowPlan

# One prompt for the whole clip, or prompts by the frame they begin at, one of them 0.
Prompt = str | Mapping[int, str]
_TIMED = re.compile(r"(\d+)\s*:\s*(.*)", re.DOTALL)


def timed(prompt: Prompt) -> dict[int, str]:
  """A prompt by the frames at which it changes, in order."""
  return {0: prompt} if isinstance(prompt, str) else dict(sorted(prompt.items()))


def in_one_line(prompt: Prompt) -> str:
  """A prompt as text for people."""
  return prompt if isinstance(prompt, str) else "  ".join(f"{k}: {v}" for k, v in prompt.items())


def check_prompts(prompts: Sequence[Prompt], num_frames: int):
  """Raises ValueError unless there are prompts, none is blank, and timed ones begin at 0 and within the clip."""
  if isinstance(prompts, str):
    raise ValueError(f"prompts={prompts!r} must be a list with one entry per video")
  if not len(prompts):
    raise ValueError("there is no prompt")
  for index, prompt in enumerate(prompts):
    parts = timed(prompt)
    if not parts or not all(text.strip() for text in parts.values()):
      raise ValueError(f"prompt {index + 1} of {len(prompts)} is blank")
    if 0 not in parts or min(parts) < 0:
      raise ValueError(f"prompts by frame, {parts}, must begin at frame 0")
    if max(parts) >= num_frames:
      raise ValueError(
        f"the prompt at frame {max(parts)} is beyond the clip, which has {num_frames} frames"
      )


def of_windows(prompts: Sequence[Prompt], plan: WindowPlan) -> list[list[dict[str, float]]]:
  """The prompts of each window and video, [n][b], with their shares, which add up to 1.

  Raises:
    ValueError: if a prompt has the larger share in no window.
  """
  middles = [start + (plan.length - 1) / 2 for start in plan.starts]
  rows = [[_shares(timed(prompt), middle, plan.length) for prompt in prompts] for middle in middles]
  for index, prompt in enumerate(prompts):
    for frame, text in timed(prompt).items():
      if not any(row[index].get(text, 0.0) > 0.5 for row in rows):
        raise ValueError(
          f"the prompt at frame {frame} ({text!r}) holds for too few frames to have a window of its own: windows have "
          f"{plan.length} frames and begin at {', '.join(map(str, plan.starts))}"
        )
  return rows


def _shares(parts: Mapping[int, str], middle: float, fade: int) -> dict[str, float]:
  """The prompt in force at a window's middle; nearer to a change than half a fade, that and the other one."""
  shares, begins = {}, list(parts)
  for begin, end in zip(begins, [*begins[1:], None], strict=True):
    into = 1.0 if begin == 0 else min(max((middle - begin) / fade + 0.5, 0), 1)
    out = 1.0 if end is None else min(max((end - middle) / fade + 0.5, 0), 1)
    if share := min(into, out):
      shares[parts[begin]] = shares.get(parts[begin], 0.0) + share
  total = sum(shares.values())
  return {text: share / total for text, share in shares.items()}


def read_prompts(given: Sequence[str], path: str | None = None) -> list[Prompt]:
  """Prompts given one by one, and those of a text file with one a line.

  Raises:
    ValueError: if there is none, or one is blank.
    OSError: if the file cannot be read.
  """
  prompts = list(given)
  if path is not None:
    try:
      text = pathlib.Path(path).read_text(encoding="utf-8-sig")  # without a byte order mark
    except UnicodeDecodeError as error:
      raise ValueError(
        f"--prompts_file={path} is not UTF-8 text: byte {error.start} cannot be read; save it as UTF-8"
      ) from error
    # Lines end at newlines only: a prompt may hold other separators of Unicode.
    found = [line.strip() for line in text.split("\n") if line.strip()]
    if not found:
      raise ValueError(f"--prompts_file={path} holds no prompt: one a line is expected")
    prompts += found
  if not prompts:
    raise ValueError("--prompt is missing: give at least one prompt, or --prompts_file")
  if blank := [prompt for prompt in prompts if not prompt.strip()]:
    raise ValueError(f"--prompt={blank[0]!r} is blank")
  parsed = parse(prompts)
  if looks_timed(parsed):
    print(
      "note: no prompt begins at frame 0, so numbers before a colon are read as part of the prompts"
    )
  return parsed


def parse(texts: Sequence[str]) -> list[Prompt]:
  r"""Command-line prompts: each is a video, but "FRAME: PROMPT" ones are together the timed prompt of one video.

  They are timed only if one of them begins at frame 0: "2001: a space odyssey" is a prompt. A prompt that itself begins
  with "0:" is written with a backslash in front, "\0: ...", which is removed.

  Raises:
    ValueError: if plain and timed ones are mixed, or a frame is named twice.
  """
  found = [_TIMED.fullmatch(text.strip()) for text in texts]
  if not any(match and int(match[1]) == 0 for match in found):
    return [text.removeprefix("\\") if _TIMED.match(text[1:]) else text for text in texts]
  if not all(found):
    plain = texts[found.index(None)]
    raise ValueError(
      f"--prompt={plain!r} has no frame, others have: give 'FRAME: PROMPT' for all prompts of a video, or for none; a "
      "prompt that itself begins with '0:' is written '\\0: ...'"
    )
  frames = [int(match[1]) for match in found]
  if len(set(frames)) < len(frames):
    raise ValueError(f"--prompt: two prompts for one frame, of {', '.join(map(str, frames))}")
  return [{int(match[1]): match[2].strip() for match in found}]


def looks_timed(prompts: Sequence[Prompt]) -> bool:
  """Whether several plain prompts all begin with a number and a colon: perhaps times without a frame 0 were meant."""
  return len(prompts) > 1 and all(
    isinstance(prompt, str) and _TIMED.match(prompt.strip()) for prompt in prompts
  )
