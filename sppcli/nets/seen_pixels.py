"""Which pixels a unit of a conv map depends on: worked out from the layers, or found by differentiating the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from sppcli.nets.backbones import run_trunk
from sppcli.nets.lrn import WithinChannel
from sppcli.nets.receptive_field import POINTWISE_MODULES, excites, keeps_places, pools_all

Field = tuple[int, int, int, int]
_Units = npt.NDArray[np.int64]
"""Some units along one axis, ascending; none where all that is read is padding."""


class _NotKnown(Exception):
    """A layer whose units' reach is not known."""


def seen_pixels(trunk: nn.Module, pixels: torch.Tensor, cells: Sequence[tuple[int, int]]) -> list[Field]:
    """The receptive field of each unit (row, column): x0 y0 x1 y1 half-open, in pixels of the network's input.

    Args:
        trunk: on the CPU, in float32.
        pixels: (1, 3, H, W), normalised.
        cells: the units.

    Where a layer is not known, the map is differentiated: pixels that a unit could see but that change nothing on this
    image (behind a ReLU that is 0) may then be left out. A unit that sees padding alone has no pixels: 0 0 0 0.
    """
    height, width = pixels.shape[2:]
    try:
        found = []
        for row, column in cells:
            down, across = _read(trunk, height, row), _read(trunk, width, column)
            none = not len(down) or not len(across)
            ends = (0,) * 4 if none else (across[0], down[0], across[-1] + 1, down[-1] + 1)
            found.append((int(ends[0]), int(ends[1]), int(ends[2]), int(ends[3])))
        return found
    except _NotKnown:
        return _differentiated(trunk, pixels, cells)


def _differentiated(trunk: nn.Module, pixels: torch.Tensor, cells: Sequence[tuple[int, int]]) -> list[Field]:
    """The fields by one pass forward, and one back for each unit."""
    # Copied: maps that were made in inference mode take no gradients.
    given = pixels.detach().clone().float().requires_grad_(True)
    found = []
    with torch.enable_grad():
        maps = run_trunk(trunk, given)
        for row, column in cells:
            (gradient,) = torch.autograd.grad(maps[0, :, row, column].sum(), given, retain_graph=True)
            touched = gradient[0].abs().sum(0) > 0
            rows, columns = torch.nonzero(touched.any(1)).flatten(), torch.nonzero(touched.any(0)).flatten()
            ends = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) else (0,) * 4
            found.append((ends[0], ends[1], ends[2], ends[3]))
    return found


def _read(trunk: nn.Module, size: int, unit: int) -> _Units:
    """The pixels that ``unit`` depends on, along an axis of ``size`` pixels."""
    if isinstance(trunk, nn.Sequential):
        return _back_through(list(trunk), size, np.array([unit]))
    if not isinstance(trunk, fx.GraphModule):
        raise _NotKnown
    return _back_through_graph(trunk, size, unit)


def _back_through_graph(trunk: fx.GraphModule, size: int, unit: int) -> _Units:
    modules = dict(trunk.named_modules())
    nodes = list(trunk.graph.nodes)
    # Units along the axis of what each node gives.
    sizes: dict[fx.Node, int] = {}
    for node in nodes:
        inputs = [sizes[source] for source in node.all_input_nodes if source in sizes]
        layer = modules[str(node.target)] if node.op == "call_module" else None
        if node.op == "placeholder":
            sizes[node] = size
        elif node.op == "output" or not inputs:
            continue
        elif pools_all(node, layer):
            sizes[node] = 1
        elif layer is not None:
            sizes[node] = _length(layer, inputs[0])
        elif keeps_places(node):
            sizes[node] = max(inputs)
        else:
            raise _NotKnown
    wanted: dict[fx.Node, _Units] = {}
    for node in reversed(nodes):
        layer = modules[str(node.target)] if node.op == "call_module" else None
        for source in (item for item in node.all_input_nodes if item in sizes):
            if node.op == "output":
                needed = np.array([unit])
            elif node not in wanted:
                continue
            elif pools_all(node, layer):
                needed = np.arange(sizes[source])
            elif layer is not None:
                needed = _back(layer, sizes[source], wanted[node])
            else:  # what has one unit, as of squeeze and excitation, serves all
                needed = wanted[node] if sizes[source] == sizes[node] else np.arange(sizes[source])
            wanted[source] = np.union1d(wanted[source], needed) if source in wanted else needed
    return next(wanted[node] for node in nodes if node.op == "placeholder")


def _back_through(layers: Sequence[nn.Module], size: int, units: _Units) -> _Units:
    """What ``units`` of the last of ``layers`` need of the ``size`` units that the first reads."""
    sizes = [size]
    for layer in layers:
        sizes.append(_length(layer, sizes[-1]))
    for layer, given in zip(reversed(layers), reversed(sizes[:-1]), strict=True):
        units = _back(layer, given, units)
    return units


def _length(layer: Any, size: int) -> int:
    """Units along an axis that ``layer`` gives for ``size``."""
    if isinstance(layer, nn.Sequential):
        for part in layer:
            size = _length(part, size)
        return size
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return 1
    if isinstance(layer, (nn.ZeroPad2d, nn.ConstantPad2d)):
        left, right, _, _ = layer.padding
        return int(size + left + right)
    if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        kernel, stride, padding, dilation = _sides(layer)
        room = size + 2 * padding - dilation * (kernel - 1) - 1
        count = room // stride + 1
        # A pooling that rounds up begins its last window inside the image or the padding before it.
        if getattr(layer, "ceil_mode", False) and room % stride and count * stride < size + padding:
            count += 1
        return count
    if isinstance(layer, POINTWISE_MODULES) or excites(layer):
        return size
    raise _NotKnown


def _back(layer: Any, size: int, units: _Units) -> _Units:
    """Which of the ``size`` units that ``layer`` reads its ``units`` depend on."""
    if isinstance(layer, nn.Sequential):
        return _back_through(list(layer), size, units)
    if excites(layer) or isinstance(layer, nn.AdaptiveAvgPool2d):
        return np.arange(size)
    first, taps = units, np.zeros(1, dtype=np.int64)
    if isinstance(layer, WithinChannel):
        taps = np.arange(layer.size) - layer.size // 2
    elif isinstance(layer, (nn.ZeroPad2d, nn.ConstantPad2d)):
        first = units - int(layer.padding[0])
    elif isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        kernel, stride, padding, dilation = _sides(layer)
        first, taps = units * stride - padding, dilation * np.arange(kernel)
    read = np.unique(first[:, None] + taps)
    return read[(read >= 0) & (read < size)]


def _sides(layer: nn.Module) -> tuple[int, int, int, int]:
    """Kernel, stride, padding and dilation, if they are the same along both axes."""
    found = []
    for key in ("kernel_size", "stride", "padding", "dilation"):
        value = getattr(layer, key, 1)
        values = {value} if isinstance(value, int) else set(value)
        if len(values) != 1 or not isinstance(side := next(iter(values)), int):
            raise _NotKnown
        found.append(side)
    return found[0], found[1], found[2], found[3]
