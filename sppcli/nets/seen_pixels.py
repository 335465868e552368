"""Which pixels a unit of a conv map depends on, found by differentiating it."""

from __future__ import annotations

import torch
from torch import nn

from sppcli.nets.backbones import run_trunk


def seen_pixels(trunk: nn.Module, pixels: torch.Tensor, row: int, column: int) -> tuple[int, int, int, int]:
    """The receptive field of one unit on this image: x0 y0 x1 y1 half-open, in pixels of the network's input.

    Args:
        trunk: on the CPU, in float32.
        pixels: (1, 3, H, W), normalised.
        row, column: the unit, in cells.

    Pixels that the unit could see but that change nothing on this image (behind a ReLU that is 0) may be left out.
    """
    # Copied: maps that were made in inference mode take no gradients.
    given = pixels.detach().clone().float().requires_grad_(True)
    with torch.enable_grad():
        maps = run_trunk(trunk, given)
        maps[0, :, row, column].sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    touched = given.grad[0].abs().sum(0) > 0
    rows, columns = torch.nonzero(touched.any(1)).flatten(), torch.nonzero(touched.any(0)).flatten()
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
