"""Stride and first-unit centre of a trunk, derived from its layers.

Each unit of a feature map looks at the image through a receptive field. Per axis, the centre of unit k's field is
``centre + stride * k`` (0-based pixels). A layer of kernel k, stride s, padding p and dilation d takes
``(stride, centre)`` to ``(stride * s, centre + stride * (d * (k - 1) / 2 - p))``. Branches that meet (residual
sums, concatenations) must agree, or the trunk has no grid. For ZF-5 this gives 16 and 20, the release's ``offset0`` of
21 in 1-based pixels (golden README, mapping).
"""

from __future__ import annotations

import operator
import sys
from typing import Any

import torch
from torch import fx, nn

from sppcli.errors import UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.nets.lrn import AcrossChannels, WithinChannel
from sppcli.nets.measured_field import measured_grid

POINTWISE_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.GELU,
    nn.Sigmoid,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.BatchNorm2d,
    nn.Dropout,
    nn.Identity,
    nn.LocalResponseNorm,
    AcrossChannels,
    # A neighbourhood centred on the unit: fields grow, centres stay.
    WithinChannel,
)
_POINTWISE_FUNCTIONS = {torch.relu, torch.sigmoid, nn.functional.relu, nn.functional.dropout}
_MEETING_FUNCTIONS = {operator.add, operator.iadd, operator.mul, torch.add, torch.cat}
_POINTWISE_METHODS = {"sigmoid"}


class UnknownGeometry(UsageProblem):
    """Layers that do not say where their units look."""


def grid_of(trunk: nn.Module, name: str) -> CellGrid:
    """Follow the input through ``trunk``, a sequence of layers or a traced graph; errors name ``name``.

    Where that leads to an unknown layer of one of timm's networks, the grid is measured (`nets.measured_field`).

    Raises:
        UsageProblem: a layer's geometry is not known or differs between the axes, or branches do not agree.
    """
    if isinstance(trunk, nn.Sequential):
        return _through(trunk, CellGrid(1.0, 0.0), name, "trunk")
    assert isinstance(trunk, fx.GraphModule)
    try:
        return _through_graph(trunk, name)
    except UnknownGeometry:
        if not name.startswith("timm/"):
            raise
        return measured_grid(trunk, name)


def _through_graph(trunk: fx.GraphModule, name: str) -> CellGrid:
    modules = dict(trunk.named_modules())
    # None: a value of the whole map, as squeeze and excitation makes; it has no place.
    grids: dict[fx.Node, CellGrid | None] = {}
    for node in trunk.graph.nodes:
        inputs = [grids[n] for n in node.all_input_nodes if n in grids]
        placed = [grid for grid in inputs if grid is not None]
        layer = modules[str(node.target)] if node.op == "call_module" else None
        if node.op == "placeholder":
            grids[node] = CellGrid(1.0, 0.0)
        elif node.op == "output":
            if placed:
                return placed[0]
        elif (inputs and not placed) or pools_all(node, layer):
            grids[node] = None
        elif layer is not None:
            grids[node] = _through(layer, placed[0], name, str(node.target))
        elif keeps_places(node):
            if len(set(placed)) != 1:
                raise UnknownGeometry(
                    f"{name}: branches meet at {node.name} with different strides or centres {placed}; cut earlier"
                )
            grids[node] = placed[0]
        elif node.op != "get_attr":
            raise UnknownGeometry(f"{name}: the geometry of {node.name} ({node.target}) is not known; cut earlier")
    raise UnknownGeometry(f"{name}: the trunk's output is no map; cut earlier")


def keeps_places(node: fx.Node) -> bool:
    """Whether unit k of what ``node`` gives comes of unit k of each input."""
    if node.op == "call_method":
        return node.target in _POINTWISE_METHODS
    return node.op == "call_function" and node.target in _POINTWISE_FUNCTIONS | _MEETING_FUNCTIONS


def pools_all(node: fx.Node, layer: nn.Module | None) -> bool:
    """Whether ``node`` is the mean of the whole map, one cell of it."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.output_size in (1, (1, 1))
    return node.op == "call_method" and node.target == "mean" and node.args[1:2] == ((2, 3),)


def excites(layer: Any) -> bool:
    """Whether ``layer`` is torchvision's squeeze and excitation, which reads the whole map."""
    # Only an imported torchvision can have made the layer; importing it takes as long as importing torch.
    ops = sys.modules.get("torchvision.ops")
    return ops is not None and isinstance(layer, ops.SqueezeExcitation)


def _through(layer: Any, grid: CellGrid, name: str, where: str) -> CellGrid:
    if isinstance(layer, POINTWISE_MODULES) or excites(layer):
        return grid
    if isinstance(layer, nn.Sequential):
        for inner, part in layer.named_children():
            grid = _through(part, grid, name, f"{where}.{inner}")
        return grid
    if isinstance(layer, (nn.ZeroPad2d, nn.ConstantPad2d)):
        left, _, top, _ = layer.padding
        if left != top:
            raise UsageProblem(f"{name}: layer {where} is not the same along both axes; cut before it")
        return CellGrid(grid.stride, grid.centre - grid.stride * left)
    if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        kernel, stride, padding, dilation = (
            _square(getattr(layer, key, 1), name, where) for key in ("kernel_size", "stride", "padding", "dilation")
        )
        return CellGrid(grid.stride * stride, grid.centre + grid.stride * (dilation * (kernel - 1) / 2 - padding))
    raise UnknownGeometry(f"{name}: the geometry of layer {where} ({type(layer).__name__}) is not known; cut earlier")


def _square(value: Any, name: str, where: str) -> int:
    values = {value} if isinstance(value, int) else set(value)
    if len(values) != 1 or not isinstance(next(iter(values)), int):
        raise UsageProblem(f"{name}: layer {where} is not the same along both axes; cut before it")
    return int(next(iter(values)))
