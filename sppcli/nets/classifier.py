"""SPP networks of a trunk, a spatial pyramid, fc layers and a softmax; and their baselines, which have no pyramid.

A network is data: its file carries the description, so a reader needs no registry of architectures. The trunk is a
list of layers, or the first part of a torchvision network. `architectures` has those of the paper.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from sppcli.errors import BadInput
from sppcli.geometry.projection import CellGrid
from sppcli.images import Normalisation
from sppcli.nets.backbones import SPECS, cut_trunk, run_trunk, torchvision_model
from sppcli.nets.lrn import AcrossChannels, WithinChannel
from sppcli.nets.pyramid import SpatialPyramidPool, bins_in
from sppcli.nets.receptive_field import grid_of


@dataclass(frozen=True)
class Layer:
    """Description of one layer of a trunk.

    ``kind``: conv (followed by a ReLU), maxpool, lrn-across or lrn-within (``size`` is the neighbourhood's).
    ``ceil``: a pooling window that reaches over the border counts, as in Caffe.
    """

    kind: str
    size: int
    stride: int = 1
    padding: int = 0
    filters: int = 0
    groups: int = 1
    ceil: bool = True
    alpha: float = 0.0
    beta: float = 0.75


@dataclass(frozen=True)
class Architecture:
    """Description of all that decides a network's shape.

    | field | meaning |
    |---|---|
    | layers | the trunk, or () where it is ``backbone`` |
    | pyramid | levels; () for a baseline, which has ``pool`` instead and takes ``input_size`` inputs only |
    | fc | widths of fc6, fc7 … |
    | classes | names, in the order of the outputs |
    | input_size | side in pixels of the square inputs it is trained at |
    | backbone, cut | a torchvision network and the layer after which it is cut, or "" |
    | pool | a baseline's fixed pooling of the last map |
    | dropout | after each of ``fc``, in training |
    """

    name: str
    layers: tuple[Layer, ...]
    pyramid: tuple[int, ...]
    fc: tuple[int, ...]
    classes: tuple[str, ...]
    normalisation: Normalisation
    input_size: int
    backbone: str = ""
    cut: str = ""
    pool: Layer | None = None
    dropout: float = 0.5

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        # The field's name in files.
        fields["canonical"] = fields.pop("input_size")
        return fields

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> Architecture:
        """Read the architecture that `to_json` wrote; errors name ``where``.

        Raises:
            BadInput: a field is missing or is not what it should be.
        """
        try:
            normalisation = value["normalisation"]
            pool = value.get("pool")
            if value.get("backbone", "") not in ("", *SPECS):
                raise ValueError(f"unknown backbone {value['backbone']}")
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
                str(value.get("backbone", "")),
                str(value.get("cut", "")),
                Layer(**pool) if pool else None,
                float(value.get("dropout", 0.5)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"{where}: the description of the network is damaged ({error}); make the file again"
            ) from None


def build_trunk(layers: Sequence[Layer]) -> nn.Sequential:
    """Build the layers as modules conv1, relu1, norm1, pool1, conv2 …, with torch's default weights."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    channels, number = 3, 0
    for layer in layers:
        if layer.kind == "conv":
            number += 1
            modules[f"conv{number}"] = nn.Conv2d(
                channels, layer.filters, layer.size, layer.stride, layer.padding, groups=layer.groups
            )
            modules[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = layer.filters
        elif layer.kind == "maxpool":
            modules[f"pool{number}"] = _max_pool(layer)
        elif layer.kind == "lrn-across":
            modules[f"norm{number}"] = AcrossChannels(channels, layer.size, layer.alpha, layer.beta)
        elif layer.kind == "lrn-within":
            modules[f"norm{number}"] = WithinChannel(layer.size, layer.alpha, layer.beta)
        else:
            raise ValueError(f"unknown kind of layer: {layer.kind}")
    if not number:
        raise ValueError("a trunk needs a conv layer")
    return nn.Sequential(modules)


def _max_pool(layer: Layer) -> nn.MaxPool2d:
    return nn.MaxPool2d(layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil)


class FixedPool(nn.Module):
    """What a baseline has between the last map and fc6: one pooling, then a vector in the layout of a pyramid's.

    Over the map of an input of ``input_size`` its windows are the bins of one pyramid level: 3 x 3 at stride 2 on 13 x
    13, or 3 x 3 at stride 3 on 18 x 18, are the 6 x 6 bins of level 6.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.pool = _max_pool(layer)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(maps).permute(0, 2, 3, 1).flatten(start_dim=1)
        assert isinstance(pooled, torch.Tensor)
        return pooled


class BatchDropout(nn.Module):
    """Dropout whose mask depends on the batch's place in the random sequence, not on which process computes which rows.

    ``share``: (which rows of the batch are here, rows of the whole batch) when a batch is spread over processes; None
    when it is all here. With equal random states, several processes then drop what one would.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.share: tuple[slice | torch.Tensor, int] | None = None

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.probability:
            return value
        rows, total = self.share or (slice(None), len(value))
        kept = torch.rand(total, value.shape[1], device=value.device) >= self.probability
        return value * kept[rows] / (1 - self.probability)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


class SppClassifier(nn.Module):
    """Trunk, pyramid, fc6, fc7 … with ReLU and dropout, and a last linear layer with one output per class.

    Input (N, 3, H, W) float32, normalised, any H and W the trunk can take (a baseline: ``input_size`` only); output (N,
    classes) logits.

    Raises:
        ValueError: layers that cannot be built.
        UsageProblem: a backbone without the layer to cut after.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        if architecture.backbone:
            model = torchvision_model(architecture.backbone)
            self.trunk: nn.Module = cut_trunk(model, architecture.backbone, architecture.cut)
        else:
            self.trunk = build_trunk(architecture.layers)
        self.channels, self.cells = _probe(self.trunk, architecture.input_size)
        self.pool: nn.Module
        if architecture.pool is None:
            self.pool = SpatialPyramidPool(architecture.pyramid)
        else:
            self.pool = FixedPool(architecture.pool)
        width = bins_in(self.levels) * self.channels
        self.fc = nn.ModuleDict()
        for index, units in enumerate(architecture.fc):
            self.fc[f"fc{index + 6}"] = nn.Linear(width, units)
            width = units
        self.last = nn.Linear(width, len(architecture.classes))
        self.dropout = BatchDropout(architecture.dropout)

    @property
    def levels(self) -> tuple[int, ...]:
        """The pyramid levels; for a baseline, the one level that equals its pooling of an input of ``input_size``."""
        if self.architecture.pool is None:
            return self.architecture.pyramid
        with torch.inference_mode():
            side = _max_pool(self.architecture.pool)(torch.zeros(1, 1, self.cells, self.cells)).shape[2]
        return (int(side),)

    def grid(self) -> CellGrid:
        """The stride of the trunk's units, and the centre of the first unit's receptive field."""
        return grid_of(self.trunk, self.architecture.name)

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of pooled vectors (N, bins * C)."""
        value = pooled
        for layer in self.fc.values():
            value = self.dropout(torch.relu(layer(value)))
        logits = self.last(value)
        assert isinstance(logits, torch.Tensor)
        return logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classify(self.pool(run_trunk(self.trunk, images)))


def _probe(trunk: nn.Module, side: int) -> tuple[int, int]:
    """Return the number of the map's channels, and its side for a square input of ``side`` pixels."""
    was_training = trunk.training
    with torch.inference_mode():
        maps = run_trunk(trunk.eval(), torch.zeros(1, 3, side, side))
    trunk.train(was_training)
    return int(maps.shape[1]), int(maps.shape[2])
