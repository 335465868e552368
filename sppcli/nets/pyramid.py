"""The spatial pyramid pooling layer (paper, section 2.2 and Appendix A) as a torch module.

Vector layout, here and in `pooling`: levels in the order given; inside a level bins row by row; channels fastest.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torchvision.ops import roi_pool


def bins_in(levels: Sequence[int]) -> int:
    """Number of bins of a pyramid: 50 for 6, 3, 2, 1."""
    return sum(n * n for n in levels)


def pool_regions(conv_map: torch.Tensor, cells: npt.NDArray[np.int64], levels: Sequence[int]) -> torch.Tensor:
    """`pooling.pool_windows` by torchvision on the device of ``conv_map`` (H, W, C): for GPUs.

    ``cells`` (N, 4): x0 y0 x1 y1, half-open, inside the map. Returns (N, bins * C) float32, bit for bit the same.

    Each bin is given as a region of its own: roi_pool divides regions in float32, which now and then makes a bin one
    cell too large (57 cells in 7 bins).
    """
    maps = conv_map.float().permute(2, 0, 1)[None].contiguous()
    x0, y0 = cells[:, :1], cells[:, 1:2]
    width, height = cells[:, 2:3] - x0, cells[:, 3:4] - y0
    bins = []
    for n in levels:
        i = np.arange(n)[None]
        across = np.stack([x0 + i * width // n, x0 - (-(i + 1) * width // n) - 1], axis=-1)[:, None].repeat(n, 1)
        down = np.stack([y0 + i * height // n, y0 - (-(i + 1) * height // n) - 1], axis=-1)[:, :, None].repeat(n, 2)
        # Which image of the batch, then x0 y0 x1 y1, both ends included.
        image = np.zeros((*across.shape[:3], 1), np.int64)
        bins.append(np.concatenate([image, across[..., :1], down[..., :1], across[..., 1:], down[..., 1:]], axis=-1))
    regions = np.concatenate([value.reshape(len(cells), -1, 5) for value in bins], axis=1).reshape(-1, 5)
    pooled = roi_pool(maps, torch.from_numpy(regions).to(maps.device, torch.float32), 1)
    values: torch.Tensor = pooled.reshape(len(cells), -1)
    return values


def _maxima(maps: torch.Tensor, n: int) -> torch.Tensor:
    """Adaptive max-pooling to n x n by slices alone, over rows and then over columns."""
    height, width = maps.shape[2], maps.shape[3]
    rows = [maps[:, :, i * height // n : ((i + 1) * height + n - 1) // n].amax(2) for i in range(n)]
    strips = torch.stack(rows, 2)
    columns = [strips[:, :, :, i * width // n : ((i + 1) * width + n - 1) // n].amax(3) for i in range(n)]
    return torch.stack(columns, 3)


def pool_bins(bins: torch.Tensor, levels: Sequence[int]) -> torch.Tensor:
    """`SpatialPyramidPool` of many small maps (N, C, n, n), for ``levels`` that divide n.

    The same numbers, four times as fast on a CPU where no gradients are needed.
    """
    number, channels, side, _ = bins.shape
    last = bins.permute(0, 2, 3, 1).contiguous()
    pooled = []
    for n in levels:
        rows = last.reshape(number, n, side // n, side, channels).unbind(2)
        strips = functools.reduce(torch.maximum, rows).reshape(number, n, n, side // n, channels)
        pooled.append(functools.reduce(torch.maximum, strips.unbind(3)).reshape(number, n * n * channels))
    return torch.cat(pooled, dim=1)


class SpatialPyramidPool(nn.Module):
    """Max-pool a map of any size into a vector of fixed length.

    Input (N, C, H, W), any H, W >= 1; output (N, bins * C). Bin i of n covers rows
    floor(i H / n) .. ceil((i + 1) H / n), half-open, and columns likewise: Appendix A's bins, which are also those of
    torch's adaptive pooling, so the layer is differentiable and runs on every device torch has. It can be scripted,
    exported by torch.export, and written as ONNX for maps of one size.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 1:
            raise ValueError(f"pyramid levels must be positive: {tuple(levels)}")
        self.levels = tuple(levels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        # ONNX has no adaptive pooling, so there the bins are cut out one by one. TorchScript cannot compile this test.
        portable = False
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            portable = torch.compiler.is_exporting()
        pooled = []
        for n in self.levels:
            bins = _maxima(maps, n) if portable else nn.functional.adaptive_max_pool2d(maps, n)
            pooled.append(bins.permute(0, 2, 3, 1).flatten(start_dim=1))
        return torch.cat(pooled, dim=1)

    def extra_repr(self) -> str:
        return ", ".join(str(n) for n in self.levels)
