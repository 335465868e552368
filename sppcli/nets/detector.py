"""A detector trained as one network, after Fast R-CNN (Girshick 2015): trunk, pyramid-pooled RoIs, fc layers.

Conv maps are computed once for an image: the output of one layer of the trunk, or of several, fine and coarse ones. On
each map, each RoI is sampled into 6 x 6 bins (RoI align, He et al. 2017, 2 x 2 samples a bin), over which the spatial
pyramid is pooled; the vectors of the maps are joined. fc layers follow, then a softmax over background and classes,
and box regression of each class.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torchvision.ops import roi_align

from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import Normalisation
from sppcli.nets.backbones import SPECS, Network, cut_trunk, map_name, torchvision_model
from sppcli.nets.classifier import Layer, build_trunk
from sppcli.nets.folding import folded
from sppcli.nets.pyramid import SpatialPyramidPool, bins_in, pool_bins
from sppcli.nets.receptive_field import grid_of
from sppcli.nets.roi_align import align
from sppcli.nets.weight_files import read_weights, save_tensors
from sppcli.nets.weights import METADATA_KEY, read_classifier

BINS, SAMPLES = 6, 2
"""Bins on a side that RoI align makes of a RoI, and samples on a side of each bin."""

TARGET_SCALE = (0.1, 0.1, 0.2, 0.2)
"""What regression targets (dx/w, dy/h, log dw, log dh) are divided by, so that all are about as large."""


@dataclass(frozen=True, kw_only=True)
class DetectorArchitecture:
    """All that decides a detector's shape. ``layers`` are the trunk's, or () where it is ``backbone`` up to the last of
    ``cuts``, the layers whose outputs are the conv maps.

    ``levels``: of the pyramid over the bins of RoI align, divisors of 6; ``channels``: of the 1x1 convolution that
    the maps go through first; ``fc``: widths of the fc layers.
    """

    backbone: str
    cuts: tuple[str, ...]
    layers: tuple[Layer, ...]
    normalisation: Normalisation
    classes: tuple[str, ...]
    levels: tuple[int, ...] = (3, 2, 1)
    channels: int = 128
    fc: tuple[int, ...] = (512, 512)

    @classmethod
    def on(
        cls,
        network: Network,
        classes: tuple[str, ...],
        levels: tuple[int, ...],
        channels: int,
        fc: tuple[int, ...],
        cuts: tuple[str, ...] = (),
    ) -> DetectorArchitecture:
        """A detector on the trunk of ``network``, on its map or those of the layers ``cuts``, the last of them its."""
        ours = network.backbone not in SPECS
        own = read_classifier(Path(network.weights)).architecture if ours else None
        return cls(
            backbone=own.backbone if own else network.backbone,
            cuts=(own.cut,) if own else cuts or (network.cut,),
            layers=own.layers if own else (),
            normalisation=network.normalisation,
            classes=classes,
            levels=levels,
            channels=channels,
            fc=fc,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DetectorArchitecture:
        pixels = value["normalisation"]
        mean, std = tuple(pixels["mean"]), tuple(pixels["std"])
        lists = {name: tuple(value[name]) for name in ("cuts", "classes", "levels", "fc")}
        layers = tuple(Layer(**layer) for layer in value["layers"])
        normalisation = Normalisation(mean, std, float(pixels["divisor"]), str(pixels["order"]))
        return cls(**{**value, **lists, "layers": layers, "normalisation": normalisation})


class SppDetector(nn.Module):
    """See the module. ``classes`` are numbered from 1; 0 is the background.

    Batch normalisation of the trunk keeps its statistics, so that it is folded into the convolutions before it.
    Depthwise convolutions keep their filters: few numbers, whose gradients take longer than those of all other layers
    together.
    """

    def __init__(self, architecture: DetectorArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.trunk, grids = _trunk_of(architecture)
        self.grids = tuple(grids)
        self.trunk.eval()
        with torch.inference_mode():
            widths = [int(maps.shape[1]) for maps in self._outputs(torch.zeros(1, 3, 128, 128))]
        self.reduce = nn.ModuleList(nn.Conv2d(width, architecture.channels, 1) for width in widths)
        self.pool = SpatialPyramidPool(architecture.levels)
        self.align: Callable[[torch.Tensor, torch.Tensor, int, int], torch.Tensor] = align
        width = len(widths) * bins_in(architecture.levels) * architecture.channels
        self.fc = nn.ModuleList()
        for units in architecture.fc:
            self.fc.append(nn.Linear(width, units))
            width = units
        self.scores = nn.Linear(width, 1 + len(architecture.classes))
        self.boxes = nn.Linear(width, 4 * len(architecture.classes))

    def initialise(self, network: Network) -> None:
        """The trunk of ``network`` and new layers on it; torch's random state decides.

        Raises:
            UsageProblem: the last of the layers ``cuts`` is not the network's.
        """
        trained = _for_training(network.trunk).state_dict()
        if trained.keys() != self.trunk.state_dict().keys():
            raise UsageProblem(
                f"--cut {','.join(self.architecture.cuts)}: give the layers in the order of the backbone"
            )
        self.trunk.load_state_dict(trained)
        for layer in (*self.reduce, *self.fc):
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        for output, deviation in ((self.scores, 0.01), (self.boxes, 0.001)):
            nn.init.normal_(output.weight, std=deviation)
            nn.init.zeros_(output.bias)

    def train(self, mode: bool = True) -> SppDetector:
        super().train(mode)
        self.trunk.eval()
        return self

    def _outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the layers ``cuts`` make of ``images``."""
        out = self.trunk(images)
        return [out[map_name(i)] for i in range(len(out))] if isinstance(out, dict) else [out]

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Reduced conv maps, each (N, channels, h, w), of normalised ``images`` (N, 3, H, W)."""
        return [reduce(maps).relu() for reduce, maps in zip(self.reduce, self._outputs(images), strict=True)]

    def pooled(self, maps: list[torch.Tensor], rois: torch.Tensor) -> torch.Tensor:
        """Pyramid features (N, maps * bins * channels) of ``rois`` (N, 4) of one image's ``maps`` (1, channels, h, w).

        ``rois``: x0 y0 x1 y1 in pixels of the image as the network read it, half-open. Unit k of a map lies at the
        centre of its receptive field; one row and column of repeated units surround the map, since objects may lie
        beyond its first and last centres.
        """
        return torch.cat([self._pooled(*pair, rois) for pair in zip(maps, self.grids, strict=True)], dim=1)

    def _pooled(self, maps: torch.Tensor, grid: CellGrid, rois: torch.Tensor) -> torch.Tensor:
        # In units of the padded map, whose first is -1; RoI align takes half a unit off again.
        cells = (rois.float() - (grid.centre + 0.5)) / grid.stride + 1.5
        maps = nn.functional.pad(maps.float(), (1, 1, 1, 1), mode="replicate")
        if maps.requires_grad:
            pooled: torch.Tensor = self.pool(self.align(maps, cells, BINS, SAMPLES))
            return pooled
        bins = roi_align(maps.contiguous(), [cells], BINS, 1.0, SAMPLES, aligned=True)
        return pool_bins(bins, self.architecture.levels)

    def classify(self, maps: list[torch.Tensor], rois: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, 1 + classes) and scaled regression targets (N, classes, 4) of ``rois`` (N, 4), see `pooled`."""
        value = self.pooled(maps, rois)
        for layer in self.fc:
            value = layer(value).relu()
        return self.scores(value), self.boxes(value).reshape(len(value), -1, 4)

    def forward(self, images: torch.Tensor, rois: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.classify(self.maps(images), rois)

    def train_from(self, layer: str) -> list[nn.Parameter]:
        """Let the trunk learn from ``layer`` on, all of it ("all") or none ("none"); returns the parameters that do.

        Raises:
            UsageProblem: no such layer.
        """
        names = _layers_in_order(self.trunk)
        first = 0 if layer == "all" else len(names) if layer == "none" else None
        if first is None:
            found = [i for i, name in enumerate(names) if name == layer or name.startswith(f"{layer}.")]
            if not found:
                blocks = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
                raise UsageProblem(
                    f"the trunk has no layer {layer!r} to train from; it has {', '.join(blocks)}, or give all or none"
                )
            first = found[0]
        modules = dict(self.trunk.named_modules())
        self.trunk.requires_grad_(False)
        for name in names[first:]:
            module = modules[name]
            depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
            if not isinstance(module, nn.BatchNorm2d) and not depthwise:
                module.requires_grad_(True)
        return [parameter for parameter in self.trunk.parameters() if parameter.requires_grad]


def _trunk_of(architecture: DetectorArchitecture) -> tuple[nn.Module, list[CellGrid]]:
    """The trunk, and where the units of each of its maps lie."""
    if not architecture.backbone:
        trunk: nn.Module = build_trunk(architecture.layers)
        return trunk, [grid_of(trunk, "the trunk")]
    name = architecture.backbone
    model = torchvision_model(name)
    grids = [grid_of(cut_trunk(model, name, cut), name) for cut in architecture.cuts]
    return _for_training(cut_trunk(model, name, *architecture.cuts)), grids


def _for_training(trunk: nn.Module) -> nn.Module:
    """``trunk`` with what never learns folded away."""
    return folded(trunk.eval()) if isinstance(trunk, fx.GraphModule) else trunk


def _layers_in_order(trunk: nn.Module) -> list[str]:
    if isinstance(trunk, fx.GraphModule):
        return [str(node.target) for node in trunk.graph.nodes if node.op == "call_module"]
    return [name for name, _ in trunk.named_children()]


def check_levels(levels: tuple[int, ...]) -> None:
    """Raises UsageProblem: a level that does not divide the bins of RoI align."""
    wrong = [n for n in levels if BINS % n]
    if wrong:
        raise UsageProblem(f"pyramid level {wrong[0]} does not divide the {BINS} x {BINS} bins of a RoI; give 6,3,2,1")


def save_detector(path: Path, model: SppDetector, settings: dict[str, Any], training: dict[str, Any]) -> None:
    """Write ``model``, how images and proposals are made for it (``settings``) and what made it, or nothing."""
    described = {"detector": asdict(model.architecture), "settings": settings, "training": training}
    save_tensors(path, model.state_dict(), {METADATA_KEY: json.dumps(described)})


def load_detector(path: Path) -> tuple[SppDetector, dict[str, Any], dict[str, Any]]:
    """The detector in ``path``, in evaluation mode, its settings, and what made it.

    Raises:
        MissingInput, BadInput: no such file, another network, or a damaged one.
    """
    if not path.exists():
        raise MissingInput(f"{path}: there is no such file; run spp train-detector first")
    state, metadata = read_weights(path)
    try:
        described = json.loads(metadata[METADATA_KEY])
        detector = described["detector"]
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{path}: not a detector that spp train-detector made; give such a file") from None
    try:
        model = SppDetector(DetectorArchitecture.from_json(detector))
        model.load_state_dict(state)
        return model.eval(), dict(described["settings"]), dict(described["training"])
    except (KeyError, TypeError, ValueError, RuntimeError, StopIteration) as error:
        said = str(error).splitlines()[0]
        raise BadInput(f"{path}: the description of the detector is damaged ({said}); train it again") from None
