"""A network as tensors and a description that need no other file: its trunk up to the cut, and some fc layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sppcli.images import Normalisation
from sppcli.nets.backbones import SPECS, FcHead, Network, cut_trunk, torchvision_model
from sppcli.nets.classifier import Layer, build_trunk
from sppcli.nets.receptive_field import grid_of
from sppcli.nets.weights import read_classifier

Tensors = dict[str, torch.Tensor]


def packed_network(network: Network, layer: str) -> tuple[Tensors, dict[str, Any]]:
    """The trunk of ``network`` and its fc layers up to ``layer`` (pool5: none), and what makes them a network again.

    Where the weights lay is not part of it.
    """
    own = None if network.backbone in SPECS else read_classifier(Path(network.weights)).architecture
    tensors = {f"trunk.{name}": value for name, value in network.trunk.state_dict().items()}
    head = []
    for name, (weight, bias) in network.head.layers.items() if network.head and layer != "pool5" else ():
        tensors |= {f"head.{name}.weight": weight, f"head.{name}.bias": bias}
        head.append(name)
        if name == layer:
            break
    return tensors, {
        "backbone": network.backbone,
        "cut": network.cut,
        "trunk": {
            "backbone": own.backbone if own else network.backbone,
            "cut": own.cut if own else network.cut,
            "layers": [asdict(item) for item in own.layers] if own else [],
        },
        "channels": network.channels,
        "normalisation": asdict(network.normalisation),
        "input_size": network.input_size,
        "input_cells": network.input_cells,
        "digest": network.digest,
        "head": head,
        "head_levels": list(network.head.levels) if network.head else [],
        "levels": None if network.levels is None else list(network.levels),
    }


def unpacked_network(tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any], where: str) -> Network:
    """The network that `packed_network` made ``tensors`` and ``description`` of, in evaluation mode.

    ``where``: its file, named in errors.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the description, or a tensor, is not of that form.
    """
    made = description["trunk"]
    trunk: nn.Module
    if made["backbone"]:
        trunk = cut_trunk(torchvision_model(made["backbone"]), made["backbone"], made["cut"])
    else:
        trunk = build_trunk(tuple(Layer(**layer) for layer in made["layers"]))
    prefix = "trunk."
    trunk.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    trunk.eval()
    pixels = description["normalisation"]
    layers = {name: (tensors[f"head.{name}.weight"], tensors[f"head.{name}.bias"]) for name in description["head"]}
    levels = description["levels"]
    return Network(
        backbone=description["backbone"],
        cut=description["cut"],
        weights=where,
        trunk=trunk,
        grid=grid_of(trunk, description["backbone"]),
        channels=int(description["channels"]),
        normalisation=Normalisation(
            tuple(pixels["mean"]), tuple(pixels["std"]), float(pixels["divisor"]), str(pixels["order"])
        ),
        input_size=int(description["input_size"]),
        input_cells=int(description["input_cells"]),
        digest=description["digest"],
        head=FcHead(tuple(description["head_levels"]), layers) if layers else None,
        levels=None if levels is None else tuple(levels),
    )
