"""RoI align (He et al. 2017) as matrix products, for training on few RoIs.

The bilinear weights of a place in a map are a row's times a column's, so the mean over the samples of a bin is, too:
one product with weights of rows, then one with weights of columns. Forwards and backwards that is a few matrix
products, the same sums each time, where torchvision scatters gradients place by place, slowly on a CPU and in any order
on a GPU. For thousands of RoIs, most of whose weights are 0, torchvision's `roi_align` is the faster one.
"""

from __future__ import annotations

import torch


def align(maps: torch.Tensor, cells: torch.Tensor, bins: int, samples: int) -> torch.Tensor:
    """As ``torchvision.ops.roi_align(maps, [cells], bins, 1.0, samples, aligned=True)``.

    Args:
        maps: (1, C, H, W) float32, best channels last in memory.
        cells: (N, 4) x0 y0 x1 y1 in units of the map, whose unit k reaches from k to k + 1.
        bins: on a side of each RoI.
        samples: on a side of each bin.

    Returns:
        (N, C, bins, bins).
    """
    height, width = maps.shape[2:]
    down = _weights(cells[:, 1], cells[:, 3], height, bins, samples)
    across = _weights(cells[:, 0], cells[:, 2], width, bins, samples)
    plane = maps[0].permute(1, 2, 0)
    rows = (down.reshape(-1, height) @ plane.reshape(height, -1)).reshape(len(cells), bins, width, -1)
    return torch.matmul(across[:, None], rows).permute(0, 3, 1, 2)


def _weights(start: torch.Tensor, end: torch.Tensor, size: int, bins: int, samples: int) -> torch.Tensor:
    """Weights (N, bins, size) of the units along one axis in the bins of RoIs from ``start`` to ``end``.

    Samples beyond the first and last centre read these, and nothing where they lie more than a unit beyond.
    """
    count = bins * samples
    place = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5) / count
    at = start[:, None] - 0.5 + place * (end - start)[:, None]
    inside = (at >= -1) & (at <= size)
    units = torch.arange(size, device=start.device, dtype=start.dtype)
    weights = (1 - (at.clamp(0, size - 1)[..., None] - units).abs()).clamp(min=0) * inside[..., None]
    return weights.reshape(len(start), bins, samples, size).mean(dim=2)
