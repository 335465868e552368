"""Multiply-adds of networks, counted from their layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from sppcli.nets.backbones import FcHead, run_trunk


def conv_operations(trunk: nn.Module, height: int, width: int) -> int:
    """Multiply-adds of all conv layers of ``trunk`` for one image of ``height`` x ``width`` pixels.

    Each number of a layer's output takes kernel area x input channels / groups of them. Nothing is computed: the layers
    run on shapes alone.
    """
    count = 0

    def add(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal count
        assert isinstance(layer, nn.Conv2d)
        kernel = layer.kernel_size[0] * layer.kernel_size[1]
        count += output.numel() * kernel * layer.in_channels // layer.groups

    shapes = copy.deepcopy(trunk).to("meta")
    for layer in shapes.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.inference_mode():
        run_trunk(shapes, torch.zeros(1, 3, height, width, device="meta"))
    return count


def fc_operations(head: FcHead | None, layer: str) -> int:
    """Multiply-adds of one region's way through ``head`` up to ``layer``; 0 for pool5."""
    count = 0
    if head is None or layer == "pool5":
        return count
    for name, (weight, _) in head.layers.items():
        count += weight.numel() + (head.narrow[name].numel() if name in head.narrow else 0)
        if name == layer:
            break
    return count
