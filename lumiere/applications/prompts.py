"""Prompts that change along time: which prompt each window of a clip carries.

A timed prompt holds from its frame to the next one's. A window carries the prompt in force at its middle, and where windows
of different prompts overlap, their predictions are averaged at every sampling step (MultiDiffusion with a prompt a window):
with tapered weights one scene fades into the next over the overlap.
"""

import re
from collections.abc import Mapping, Sequence

from multidiffusion.windows import WindowPlan

# One prompt for the whole clip, or prompts by the frame they begin at, one of them 0.
Prompt = str | Mapping[int, str]
_TIMED = re.compile(r"(\d+)\s*:\s*(.*)", re.DOTALL)


def timed(prompt: Prompt) -> dict[int, str]:
  """A prompt by the frames at which it changes, in order."""
  return {0: prompt} if isinstance(prompt, str) else dict(sorted(prompt.items()))


def check_prompts(prompts: Sequence[Prompt], num_frames: int):
  """Raises ValueError unless there are prompts, none is blank, and timed ones begin at 0 and within the clip."""
  if isinstance(prompts, str):
    raise ValueError(f"prompts={prompts!r} must be a list, one entry a video")
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


def of_windows(prompts: Sequence[Prompt], plan: WindowPlan) -> list[list[str]]:
  """The prompt of each window for each video, [n][b].

  Raises:
    ValueError: if a prompt is in force at no window's middle.
  """
  rows = []
  for start in plan.starts:
    middle = start + (plan.length - 1) / 2
    rows.append([_at(timed(prompt), middle) for prompt in prompts])
  for index, prompt in enumerate(prompts):
    for frame, text in timed(prompt).items():
      if text not in {row[index] for row in rows}:
        raise ValueError(
          f"the prompt at frame {frame} ({text!r}) holds for too few frames to have a window of its own: windows have "
          f"{plan.length} frames and begin at {', '.join(map(str, plan.starts))}"
        )
  return rows


def _at(parts: Mapping[int, str], frame: float) -> str:
  return parts[max(begin for begin in parts if begin <= frame)]


def parse(texts: Sequence[str]) -> list[Prompt]:
  """Command-line prompts: each is a video, but "FRAME: PROMPT" ones are together the timed prompt of one video.

  Raises:
    ValueError: if plain and timed ones are mixed, or a frame is named twice.
  """
  found = [_TIMED.fullmatch(text.strip()) for text in texts]
  if not any(found):
    return list(texts)
  if not all(found):
    plain = texts[found.index(None)]
    raise ValueError(
      f"--prompt={plain!r} has no frame, others have: give 'FRAME: PROMPT' for all of a video, or for none"
    )
  frames = [int(match[1]) for match in found]
  if len(set(frames)) < len(frames):
    raise ValueError(f"--prompt: two prompts for one frame, of {', '.join(map(str, frames))}")
  return [{int(match[1]): match[2].strip() for match in found}]
