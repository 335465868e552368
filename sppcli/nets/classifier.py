"""SPP networks of our own: a trunk given as a list of layers, a spatial pyramid, fc layers, a softmax.

A network is data: its file carries the list, so a reader needs no registry of architectures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from sppcli.errors import BadInput
from sppcli.images import Normalisation
from sppcli.nets.pyramid import SpatialPyramidPool, bins_in


@dataclass(frozen=True)
class Layer:
    """One layer of a trunk. ``kind``: conv (followed by a ReLU) or maxpool (ceil mode, as Caffe's)."""

    kind: str
    size: int
    stride: int = 1
    padding: int = 0
    filters: int = 0


@dataclass(frozen=True)
class Architecture:
    """All that decides a network's shape.

    ``pyramid``: levels; ``fc``: widths of fc6, fc7 …; ``canonical``: side of the square inputs it is trained at.
    """

    name: str
    layers: tuple[Layer, ...]
    pyramid: tuple[int, ...]
    fc: tuple[int, ...]
    classes: tuple[str, ...]
    normalisation: Normalisation
    canonical: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> Architecture:
        """The architecture that `to_json` wrote; ``where`` is named in errors.

        Raises:
            BadInput: a field is missing or is not what it should be.
        """
        try:
            normalisation = value["normalisation"]
            return cls(
                str(value["name"]),
                tuple(Layer(**layer) for layer in value["layers"]),
                tuple(int(n) for n in value["pyramid"]),
                tuple(int(n) for n in value["fc"]),
                tuple(str(name) for name in value["classes"]),
                Normalisation(
                    tuple(normalisation["mean"]),
                    tuple(normalisation["std"]),
                    float(normalisation["divisor"]),
                    str(normalisation["order"]),
                ),
                int(value["canonical"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"{where}: the description of the network is damaged ({error}); make the file again"
            ) from None


def build_trunk(layers: Sequence[Layer]) -> nn.Sequential:
    """The layers as modules conv1, relu1, pool1, conv2 …; weights at torch's defaults."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    channels, number = 3, 0
    for layer in layers:
        if layer.kind == "conv":
            number += 1
            modules[f"conv{number}"] = nn.Conv2d(channels, layer.filters, layer.size, layer.stride, layer.padding)
            modules[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = layer.filters
        elif layer.kind == "maxpool":
            modules[f"pool{number}"] = nn.MaxPool2d(layer.size, layer.stride, layer.padding, ceil_mode=True)
        else:
            raise ValueError(f"unknown kind of layer: {layer.kind}")
    return nn.Sequential(modules)


class SppClassifier(nn.Module):
    """Trunk, pyramid, fc6, fc7 … with ReLU and dropout 0.5, and a last linear layer of one output a class.

    Input (N, 3, H, W) float32, normalised, any H and W the trunk can take; output (N, classes) logits.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.trunk = build_trunk(architecture.layers)
        self.pool = SpatialPyramidPool(architecture.pyramid)
        width = bins_in(architecture.pyramid) * self.channels
        self.fc = nn.ModuleDict()
        for index, units in enumerate(architecture.fc):
            self.fc[f"fc{index + 6}"] = nn.Linear(width, units)
            width = units
        self.last = nn.Linear(width, len(architecture.classes))
        self.dropout = nn.Dropout(0.5)

    @property
    def channels(self) -> int:
        """Channels of the conv map."""
        return next(layer.filters for layer in reversed(self.architecture.layers) if layer.kind == "conv")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.pool(self.trunk(images))
        for layer in self.fc.values():
            value = self.dropout(torch.relu(layer(value)))
        logits = self.last(value)
        assert isinstance(logits, torch.Tensor)
        return logits
