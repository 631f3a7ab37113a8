"""I3D in PyTorch, written from the paper's figure and table, with the names of pytorch-i3d."""

import torch
from torch import nn

MIXED = {
  "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
  "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
  "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
  "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
  "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
  "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
  "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
  "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
  "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


def padded(x, kernel, stride, value: float):
  """As TensorFlow's SAME: what is odd goes behind."""
  pads = []
  for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
    total = max((-(-size // s) - 1) * s + k - size, 0)
    pads += [total // 2, total - total // 2]
  return nn.functional.pad(x, pads, value=value)


def pool(x, kernel, stride):
  return nn.functional.max_pool3d(padded(x, kernel, stride, float("-inf")), kernel, stride)


class Unit(nn.Module):
  def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, last: bool = False):
    super().__init__()
    self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
    self.conv3d = nn.Conv3d(c_in, c_out, self.kernel, self.stride, bias=last)
    self.bn = None if last else nn.BatchNorm3d(c_out, eps=1e-3)

  def forward(self, x):
    x = self.conv3d(padded(x, self.kernel, self.stride, 0.0))
    return x if self.bn is None else torch.relu(self.bn(x))


class Block(nn.Module):
  def __init__(self, c_in, b0, b1a, b1b, b2a, b2b, b3b):
    super().__init__()
    self.b0 = Unit(c_in, b0, 1)
    self.b1a, self.b1b = Unit(c_in, b1a, 1), Unit(b1a, b1b, 3)
    self.b2a, self.b2b = Unit(c_in, b2a, 1), Unit(b2a, b2b, 3)
    self.b3b = Unit(c_in, b3b, 1)

  def forward(self, x):
    pooled = pool(x, (3, 3, 3), (1, 1, 1))
    parts = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)]
    return torch.cat(parts, dim=1)


class I3D(nn.Module):
  def __init__(self):
    super().__init__()
    self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
    self.Conv3d_2b_1x1 = Unit(64, 64, 1)
    self.Conv3d_2c_3x3 = Unit(64, 192, 3)
    for name, widths in MIXED.items():
      self.add_module(name, Block(*widths))
    self.logits = Unit(1024, 400, 1, last=True)

  def trunk(self, x):
    """[b 3 t h w] -> [b 1024 t2 h2 w2]."""
    x = pool(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
    x = pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
    x = pool(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
      x = getattr(self, name)(x)
    return self.Mixed_5c(self.Mixed_5b(pool(x, (2, 2, 2), (2, 2, 2))))

  def forward(self, x):
    """[b 3 t h w] in [-1, 1] -> [b 400]."""
    pooled = nn.functional.avg_pool3d(self.trunk(x), (2, 7, 7), (1, 1, 1))
    return self.logits(pooled).mean(dim=(2, 3, 4))
