"""Networks as detection sees them: a trunk that makes conv maps, and the fc layers on top, if it has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from sppcli.errors import UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS, Normalisation
from sppcli.nets.receptive_field import grid_of
from sppcli.nets.registry import BACKBONES, TIMM

CANONICAL = 224


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone: what builds it, where it is cut by default, its fc layers as module paths, how pixels are normalised.

    ``url`` gives the address of ImageNet weights to download; ``installed`` finds those that another program has put on
    this machine, or says how to get them. Both are None where there are none. ``other_names``: each turns a tensor's
    name into the one that it has in another program's files. ``leaves``: what torchvision's tracer is to leave whole,
    as its ``tracer_kwargs``; ``finish``: changes the trunk that was traced.

    A detector of one network takes its maps from the layers ``detector_cuts`` (none: from ``cut``), and is trained from
    the layer ``train_from`` on. A vector of a whole image is pooled from the map of ``image_cut`` ("": of ``cut``).

    The head's pyramid is one level as fine as the grid that the network's first fc layer reads (6 for AlexNet: over the
    13 x 13 map of a 224 image, 6 x 6 bins are the very windows of its last pooling layer).
    """

    build: Callable[[], nn.Module]
    cut: str
    head_layers: tuple[tuple[str, str], ...] = ()
    head_level: int = 0
    normalisation: str | Normalisation = "imagenet"
    url: Callable[[], str] | None = None
    installed: Callable[[], Path] | None = None
    other_names: tuple[Callable[[str], str], ...] = ()
    leaves: Mapping[str, Any] | None = None
    finish: Callable[[fx.GraphModule], fx.GraphModule] | None = None
    detector_cuts: tuple[str, ...] = ()
    train_from: str = "all"
    image_cut: str = ""

    @property
    def pixels(self) -> Normalisation:
        """How pixels are normalised for its weights."""
        return self.normalisation if isinstance(self.normalisation, Normalisation) else INPUTS[self.normalisation]


class _Specs(Mapping[str, BackboneSpec]):
    """The registered backbones by name; a specification is imported when it is first used.

    timm's networks are there too, as ``timm/NAME``, but not listed.
    """

    def __getitem__(self, name: str) -> BackboneSpec:
        spec = TIMM.load()(name) if name.startswith("timm/") else BACKBONES[name].load()
        assert isinstance(spec, BackboneSpec)
        return spec

    def __iter__(self) -> Iterator[str]:
        return iter(BACKBONES)

    def __len__(self) -> int:
        return len(BACKBONES)


SPECS = _Specs()


@dataclass(frozen=True)
class FcHead:
    """Fully connected layers on pooled regions; each is a linear map and a ReLU.

    ``layers``: name -> (weight (out, in) float32, bias (out,)), first to last; the first reads the vector of a
    pyramid of ``levels`` in the layout of `pyramid`. ``narrow``: name -> (rank, in), a linear map before the layer's,
    whose weight is then (out, rank): see `nets.compression`.
    """

    levels: tuple[int, ...]
    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    narrow: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def moved(self, device: torch.device | None, precision: str = "fp32") -> FcHead:
        """Move the head to ``device`` (None: where it is) as float32, or as bfloat16 with ``precision`` bf16."""
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        return FcHead(
            self.levels,
            {name: (weight.to(device, kind), bias.to(device, kind)) for name, (weight, bias) in self.layers.items()},
            {name: weight.to(device, kind) for name, weight in self.narrow.items()},
        )

    @cached_property
    def _digests(self) -> dict[str, hashlib._Hash]:
        """Digests of the layers up to the one named, kept because SVMs and box regressors ask for the same ones."""
        return {}

    def digest(self, layer: str, ranks: tuple[int, ...] = ()) -> str:
        """SHA-256 (hex) of the weights up to ``layer``. With ``ranks``, the digest is of the whole weights and the
        ranks that they are truncated to, as the last bits of the factors depend on the machine.
        """
        if layer not in self._digests:
            self._digests[layer] = layers_digest(self.layers, layer)
        digest = self._digests[layer].copy()
        if ranks:
            digest.update(f"truncated to rank {ranks}".encode())
        return digest.hexdigest()

    def run(self, pooled: torch.Tensor, layer: str) -> torch.Tensor:
        """``pooled`` (N, bins * C) -> output of ``layer`` after its ReLU, (N, out), in the layers' own precision."""
        value = pooled
        for name, (weight, bias) in self.layers.items():
            value = value.to(weight.dtype)
            if name in self.narrow:
                value = nn.functional.linear(value, self.narrow[name])
            value = nn.functional.linear(value, weight, bias).relu_()
            if name == layer:
                return value
        raise UsageProblem(f"the network has no layer {layer}; it has {', '.join(('pool5', *self.layers))}")


def layers_digest(layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]], last: str) -> hashlib._Hash:
    """SHA-256 over the weights and biases of the ``layers`` up to ``last``."""
    digest = hashlib.sha256()
    for name, (weight, bias) in layers.items():
        digest.update(name.encode() + weight.numpy().tobytes() + bias.numpy().tobytes())
        if name == last:
            break
    return digest


@dataclass(frozen=True)
class Network:
    """A trunk with trained weights, and all that later stages need to know of it.

    ``input_size``: side in pixels of the input the network was trained at, ``input_cells`` that of its map there (13
    for ZF-5 at 224). ``digest``: SHA-256 of the trunk (its weights, cut and normalisation): what conv maps depend on.
    ``absent``: fc layers of the backbone that the weights lack, and why. ``notes``: a sentence for each thing that is
    to be said of how the weights were read.
    """

    backbone: str
    cut: str
    weights: str
    trunk: nn.Module
    grid: CellGrid
    channels: int
    normalisation: Normalisation
    input_size: int
    input_cells: int
    digest: str
    head: FcHead | None = None
    levels: tuple[int, ...] | None = None
    classes: tuple[str, ...] = field(default=())
    absent: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def torchvision_model(name: str) -> nn.Module:
    """The bare network ``name`` in evaluation mode, torchvision's or another, its parameters not yet loaded."""
    return SPECS[name].build().eval()


def cut_trunk(model: nn.Module, backbone: str, cut: str, *more: str) -> fx.GraphModule:
    """Return the part of ``model`` up to and including the layer ``cut``, or the last of several that give maps.

    Raises:
        UsageProblem: there is no such layer; the text names the nearest ones.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    spec = SPECS[backbone]
    leaves = dict(spec.leaves) if spec.leaves else None
    try:
        nodes = get_graph_node_names(model, tracer_kwargs=leaves, suppress_diff_warning=True)[1]
    except (AssertionError, TypeError, ValueError, RuntimeError, fx.proxy.TraceError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageProblem(f"{backbone} cannot be traced by torch.fx ({said}); take another network") from None
    cuts = (cut, *more)
    for name in cuts:
        # A block's name stands for its last node, as 'layer3' for the last ReLU of its last block.
        if not any(node == name or node.startswith(f"{name}.") for node in nodes):
            last_first = [node for node in nodes if "classifier" not in node and node not in ("x", "flatten")]
            raise UsageProblem(
                f"{backbone} has no layer {name!r} to cut after; its default is {spec.cut!r}, "
                f"its last ones are {', '.join(last_first[-6:])}"
            )
    wanted = {name: map_name(i) for i, name in enumerate(cuts)}
    trunk: fx.GraphModule = create_feature_extractor(model, wanted, tracer_kwargs=leaves, suppress_diff_warning=True)
    return spec.finish(trunk) if spec.finish else trunk


def map_name(number: int) -> str:
    """Name of the map ``number``, from 0, among what a trunk gives."""
    return f"map{number or ''}"


def trunk_description(backbone: str, cut: str, normalisation: Normalisation) -> str:
    """Describe what decides the conv maps of a torchvision trunk besides its weights."""
    return f"{backbone} cut after {cut}, {normalisation}"


def trunk_digest(trunk: nn.Module, description: str) -> str:
    """SHA-256 over the trunk's tensors and ``description``."""
    return tensors_digest(trunk.state_dict(), description)


def tensors_digest(tensors: Mapping[str, torch.Tensor], description: str = "") -> str:
    """SHA-256 over ``tensors`` (names, shapes, bytes) except counts of batches, and ``description``."""
    value = hashlib.sha256(description.encode())
    for name, tensor in sorted(tensors.items()):
        if name.endswith("num_batches_tracked"):
            continue
        value.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        value.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return value.hexdigest()


def describe(
    backbone: str,
    model: nn.Module,
    cut: str | None,
    weights: str,
    normalisation: str | None = None,
    *,
    absent: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Network:
    """Make a `Network` of a torchvision ``model`` that has trained weights.

    ``normalisation``: one of `images.INPUTS`; None for that of torchvision's own weights. ``absent``: fc layers without
    trained weights, and why; ``notes``: see `Network`.
    """
    spec = SPECS[backbone]
    pixels = INPUTS[normalisation] if normalisation else spec.pixels
    cut = cut or spec.cut
    trunk = cut_trunk(model, backbone, cut).eval()
    grid = grid_of(trunk, backbone)
    with torch.inference_mode():
        sample = run_trunk(trunk, torch.zeros(1, 3, CANONICAL, CANONICAL))
    if sample.ndim != 4 or sample.shape[2] != sample.shape[3]:
        raise UsageProblem(
            f"{backbone}: the output of {cut} has shape {tuple(sample.shape)} for {CANONICAL} pixels, which is "
            "no conv feature map; cut elsewhere, or take a convolutional network"
        )
    head = None
    absent = absent or {}
    if cut == spec.cut:
        layers = _torchvision_head(model, spec, sample.shape[1])
        layers = {name: layer for name, layer in layers.items() if name not in absent}
        head = FcHead((spec.head_level,), layers) if layers else None
    return Network(
        backbone,
        cut,
        weights,
        trunk,
        grid,
        int(sample.shape[1]),
        pixels,
        CANONICAL,
        int(sample.shape[2]),
        trunk_digest(trunk, trunk_description(backbone, cut, pixels)),
        head,
        absent=absent,
        notes=notes,
    )


def run_trunk(trunk: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Conv maps (N, C, h, w) of ``images`` (N, 3, H, W)."""
    out = trunk(images)
    maps = out["map"] if isinstance(out, dict) else out
    assert isinstance(maps, torch.Tensor)
    return maps


def _torchvision_head(
    model: nn.Module, spec: BackboneSpec, channels: int
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for index, (name, path) in enumerate(spec.head_layers):
        linear = model.get_submodule(path)
        assert isinstance(linear, nn.Linear)
        weight = linear.weight.detach()
        if index == 0:
            # torchvision flattens (C, n, n); our vectors hold the bins row by row, channels fastest.
            n = spec.head_level
            weight = weight.reshape(-1, channels, n, n).permute(0, 2, 3, 1).reshape(len(weight), -1).contiguous()
        layers[name] = (weight, linear.bias.detach())
    return layers
