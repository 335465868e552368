"""The spatial pyramid pooling layer (paper, section 2.2 and Appendix A) as a torch module.

Vector layout, here and in `pooling`: levels in the order given; inside a level bins row by row; channels fastest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def bins_in(levels: Sequence[int]) -> int:
    """Number of bins of a pyramid: 50 for 6, 3, 2, 1."""
    return sum(n * n for n in levels)


class SpatialPyramidPool(nn.Module):
    """Max-pool a map of any size into a vector of fixed length.

    Input (N, C, H, W), any H, W >= 1; output (N, bins * C). Bin i of n covers rows
    floor(i H / n) .. ceil((i + 1) H / n), half-open, and columns likewise: Appendix A's bins, which are also those of
    torch's adaptive pooling, so the layer is differentiable and runs on every device torch has.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 1:
            raise ValueError(f"pyramid levels must be positive: {tuple(levels)}")
        self.levels = tuple(levels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pooled = [
            nn.functional.adaptive_max_pool2d(maps, n).permute(0, 2, 3, 1).flatten(start_dim=1) for n in self.levels
        ]
        return torch.cat(pooled, dim=1)

    def extra_repr(self) -> str:
        return ", ".join(str(n) for n in self.levels)
