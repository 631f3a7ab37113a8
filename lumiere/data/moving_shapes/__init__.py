"""A world whose truth is known: captioned videos of shapes that move, drawn from a seed.

`builder` makes a TFDS dataset of it, `endless` draws clips as they are asked for; what is imported here needs neither.
"""

from lumiere.data.moving_shapes.captions import parse, write_caption
from lumiere.data.moving_shapes.render import render
from lumiere.data.moving_shapes.scene import Scene, Thing, extent_of, random_scene

__all__ = ["Scene", "Thing", "extent_of", "parse", "random_scene", "render", "write_caption"]
