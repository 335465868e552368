"""Networks whose time is measured: trained ones, or drawn at random, which take the same time."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from sppcli.nets.architectures import architecture
from sppcli.nets.backbones import Network
from sppcli.nets.classifier import SppClassifier
from sppcli.nets.lrn import AcrossChannels, WithinChannel
from sppcli.nets.weights import network_of

RANDOM = "random"
"""The value of `Network.weights` of a network drawn at random."""


def random_network(name: str, seed: int = 0) -> Network:
    """A network of `nets.architectures.NAMES` with a pyramid and 20 classes, its weights drawn by ``seed``.

    Raises:
        UsageProblem: an unknown name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SppClassifier(architecture(name, [f"class{i}" for i in range(20)])).eval()
    return network_of(model, RANDOM)


def with_torchs_normalisation(trunk: nn.Module) -> nn.Module:
    """A copy of ``trunk`` with `torch.nn.LocalResponseNorm` for our normalisation.

    Torch has no normalisation within a channel: 5 channels take its place, so that the maps are not the same.
    """
    trunk = deepcopy(trunk)
    for name, layer in list(trunk.named_modules()):
        if isinstance(layer, AcrossChannels | WithinChannel):
            size = layer.size if isinstance(layer, AcrossChannels) else 5
            trunk.set_submodule(name, nn.LocalResponseNorm(size, layer.alpha, layer.beta, 1.0))
    return trunk
