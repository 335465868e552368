"""Networks whose time is measured: trained ones, or drawn at random, which take the same time."""

from __future__ import annotations

import torch

from sppcli.nets.architectures import architecture
from sppcli.nets.backbones import Network
from sppcli.nets.classifier import SppClassifier
from sppcli.nets.weights import network_of

RANDOM = "random"
"""What `Network.weights` of a network drawn at random says."""


def random_network(name: str, seed: int = 0) -> Network:
    """A network of `nets.architectures.NAMES` with a pyramid and 20 classes, its weights drawn by ``seed``.

    Raises:
        UsageProblem: an unknown name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SppClassifier(architecture(name, [f"class{i}" for i in range(20)])).eval()
    return network_of(model, RANDOM)
