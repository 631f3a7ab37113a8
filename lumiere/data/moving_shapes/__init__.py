"""A world whose truth is known: captioned videos of shapes that move, drawn from a seed."""

from lumiere.data.moving_shapes.builder import MovingShapes, MovingShapesConfig, load_or_prepare
from lumiere.data.moving_shapes.captions import parse, write_caption
from lumiere.data.moving_shapes.render import render
from lumiere.data.moving_shapes.scene import Scene, Thing, random_scene

__all__ = [
  "MovingShapes",
  "MovingShapesConfig",
  "Scene",
  "Thing",
  "load_or_prepare",
  "parse",
  "random_scene",
  "render",
  "write_caption",
]
