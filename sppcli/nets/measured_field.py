"""Stride and first-unit centre of a trunk, measured: what pixels two neighbouring units in the middle of the map read.

All convolutions and poolings are made to add up with equal weights, and normalisations are left out. The gradient of a
unit is then the number of paths from each pixel to it, which lies evenly about the centre of its receptive field; what
reaches it from everywhere (squeeze and excitation) adds the same to every pixel, and is taken off. Where branches with
different centres meet (the shortcuts of ResNet-D), the centre is the mean of all paths, to half a pixel.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from sppcli.errors import UsageProblem
from sppcli.geometry.projection import CellGrid

_SIDE = 512
_NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
_NORM_FUNCTIONS = {nn.functional.batch_norm, nn.functional.layer_norm, nn.functional.group_norm}


def measured_grid(trunk: fx.GraphModule, name: str) -> CellGrid:
    """Measure where the units of ``trunk`` look; errors name ``name``.

    Raises:
        UsageProblem: units look nowhere in particular, or differently along both axes.
    """
    even = _evened(trunk)
    image = torch.full((1, 3, _SIDE, _SIDE), 0.01, dtype=torch.float64, requires_grad=True)
    try:
        out = even(image)
    except (AssertionError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageProblem(f"{name}: its map of {_SIDE} x {_SIDE} pixels cannot be made ({said})") from None
    maps = out["map"] if isinstance(out, dict) else out
    row, column = maps.shape[2] // 2, maps.shape[3] // 2
    found = []
    for k in (0, 1):
        (gradient,) = torch.autograd.grad(maps[0, :, row + k, column + k].sum(), image, retain_graph=True)
        found.append(_middle(gradient[0].abs().sum(0)))
    (y, x), (next_y, next_x) = found
    grids = [_rounded(first, following, at) for first, following, at in ((y, next_y, row), (x, next_x, column))]
    if grids[0] is None or grids[0] != grids[1]:
        raise UsageProblem(f"{name}: where the units of its map look could not be measured; cut elsewhere")
    return grids[0]


def _evened(trunk: fx.GraphModule) -> fx.GraphModule:
    """A copy that only adds up, in double precision."""
    even = copy.deepcopy(trunk).eval().to("cpu", torch.float64)
    for node in list(even.graph.nodes):
        if node.op == "call_function" and node.target in _NORM_FUNCTIONS:
            node.replace_all_uses_with(node.args[0])
            even.graph.erase_node(node)
    even.recompile()
    for module, layer in list(even.named_modules()):
        if isinstance(layer, _NORMS):
            parent, _, own = module.rpartition(".")
            setattr(even.get_submodule(parent), own, nn.Identity())
        elif isinstance(layer, nn.MaxPool2d):
            # Of equal values a maximum takes the first.
            parent, _, own = module.rpartition(".")
            mean = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
            setattr(even.get_submodule(parent), own, mean)
    for parameter, value in even.named_parameters():
        value.requires_grad_(False)
        value.fill_(1 / value[0].numel() if value.ndim > 1 else 0 if parameter.endswith("bias") else 1)
    return even


def _middle(seen: torch.Tensor) -> tuple[float, float]:
    """Where the paths ``seen`` (H, W) are centred, down and across."""
    local = seen - seen.min()
    total = float(local.sum())
    at = torch.arange(len(seen), dtype=torch.float64)
    return float(local.sum(1) @ at) / total if total else -1, float(local.sum(0) @ at) / total if total else -1


def _rounded(first: float, following: float, index: int) -> CellGrid | None:
    """The grid of which unit ``index`` looks at ``first`` and the next at ``following``; None if there is none."""
    stride = round(following - first)
    centre = round((first - index * stride) * 2) / 2
    return CellGrid(float(stride), centre) if stride > 0 and abs(following - first - stride) < 0.2 else None
