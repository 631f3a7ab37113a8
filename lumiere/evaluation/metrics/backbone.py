"""A frozen network that stands behind a metric."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Backbone:
  """A network that makes one vector of a clip.

  Attributes:
    name: for people.
    checksum: of its weights, in hexadecimal digits.
    compute: (clips [b t h w 3] in 0..255, kind of resizing) -> vectors [b width].
  """

  name: str
  checksum: str
  compute: Callable[[Float[Array, "b t h w 3"], str], Float[Array, "b d"]]

  @property
  def title(self) -> str:
    """Name and checksum."""
    return f"{self.name} {self.checksum[:16]}"
