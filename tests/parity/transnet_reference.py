"""TransNet V2 in PyTorch, from its paper and the names of its weights; written for the comparison."""

import torch
from torch import nn
from torch.nn import functional


class Separable(nn.Module):
  def __init__(self, c_in, filters, dilation):
    super().__init__()
    space = nn.Conv3d(c_in, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
    time = nn.Conv3d(2 * filters, filters, (3, 1, 1), padding=(dilation, 0, 0), dilation=(dilation, 1, 1), bias=False)  # fmt: skip
    self.layers = nn.Sequential(space, time)

  def forward(self, x):
    return self.layers(x)


class Dilated(nn.Module):
  def __init__(self, c_in, filters):
    super().__init__()
    for dilation in (1, 2, 4, 8):
      setattr(self, f"Conv3D_{dilation}", Separable(c_in, filters, dilation))
    self.bn = nn.BatchNorm3d(4 * filters, eps=1e-3)

  def forward(self, x):
    return self.bn(torch.cat([getattr(self, f"Conv3D_{d}")(x) for d in (1, 2, 4, 8)], 1))


class Stacked(nn.Module):
  def __init__(self, c_in, filters):
    super().__init__()
    self.DDCNN = nn.ModuleList([Dilated(c_in, filters), Dilated(4 * filters, filters)])

  def forward(self, x):
    first = functional.relu(self.DDCNN[0](x))
    return functional.avg_pool3d(functional.relu(self.DDCNN[1](first)) + first, (1, 2, 2))


def windowed(x):
  """Products of each frame with the 50 before it, itself and the 50 after it."""
  x = functional.normalize(x, dim=2)
  padded = functional.pad(x @ x.transpose(1, 2), (50, 50))
  return torch.stack([padded[:, t, t : t + 101] for t in range(x.shape[1])], 1)


class TransNet(nn.Module):
  def __init__(self):
    super().__init__()
    self.SDDCNN = nn.ModuleList([Stacked(3, 16), Stacked(64, 32), Stacked(128, 64)])
    self.frame_sim_layer = nn.ModuleDict(
      dict(projection=nn.Linear(448, 128), fc=nn.Linear(101, 128))
    )
    self.color_hist_layer = nn.ModuleDict(dict(fc=nn.Linear(101, 128)))
    self.fc1, self.cls_layer1, self.cls_layer2 = (
      nn.Linear(4864, 1024),
      nn.Linear(1024, 1),
      nn.Linear(1024, 1),
    )

  def forward(self, frames):
    b, t = frames.shape[:2]
    x, means = frames.permute(0, 4, 1, 2, 3).float() / 255, []
    for block in self.SDDCNN:
      x = block(x)
      means.append(x.mean((3, 4)))
    projected = self.frame_sim_layer["projection"](torch.cat(means, 1).transpose(1, 2))
    similar = functional.relu(self.frame_sim_layer["fc"](windowed(projected)))
    coarse = frames.long() // 32
    bins = (coarse[..., 0] * 64 + coarse[..., 1] * 8 + coarse[..., 2]).reshape(b, t, -1)
    histograms = functional.one_hot(bins, 512).sum(2).float()
    colours = functional.relu(self.color_hist_layer["fc"](windowed(histograms)))
    flat = x.permute(0, 2, 3, 4, 1).reshape(b, t, -1)
    x = functional.relu(self.fc1(torch.cat([colours, similar, flat], 2)))
    return self.cls_layer1(x)[..., 0], self.cls_layer2(x)[..., 0]
