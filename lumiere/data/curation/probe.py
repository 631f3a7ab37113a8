"""What a file's head says; nothing is decoded."""

import os
from typing import Any

from etils import epath

from lumiere.data.frames import decoding, pictures


def probe(path: epath.PathLike) -> dict[str, Any]:
  """Columns of the table of sources: bytes, container, codec, fps (0 where the file does not say), audio.

  Raises:
    UnreadableError: if there is no video in it, with the reason: only sound, only a cover picture, a damaged head.
  """
  with pictures.open_file(path) as file:
    row = {"bytes": file.seek(0, os.SEEK_END)}
    file.seek(0)
    image = pictures.identify(file)
    if image is not None:
      kind = (image.format or "").lower()
      return row | dict(container=kind, codec=kind, fps=0.0, audio=False)
    file.seek(0)
    with decoding.opened(file) as container:
      stream = decoding.video_stream(container)
      return row | dict(
        container=container.format.name,
        codec=stream.codec_context.name,
        fps=float(stream.average_rate or 0),
        audio=bool(container.streams.audio),
      )
