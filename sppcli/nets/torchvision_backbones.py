"""torchvision's networks as backbones."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from torch import nn

from sppcli.nets.backbones import BackboneSpec


def _build(name: str) -> nn.Module:
    # torchvision takes as long to import as torch itself, and only its own networks need it.
    import torchvision

    with warnings.catch_warnings():
        # Constructors warn that their own initialisation is slow; it is overwritten by the weights.
        warnings.simplefilter("ignore", FutureWarning)
        more = {"init_weights": False} if name == "googlenet" else {}
        model: nn.Module = torchvision.models.get_model(name, weights=None, **more)
    return model


def _url(name: str) -> str:
    import torchvision

    return str(torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url)


def _spec(
    name: str,
    cut: str,
    head_layers: tuple[tuple[str, str], ...] = (),
    head_level: int = 0,
    normalisation: str = "imagenet",
    **detector: Any,
) -> BackboneSpec:
    url = partial(_url, name)
    return BackboneSpec(partial(_build, name), cut, head_layers, head_level, normalisation, url, **detector)


ALEXNET = _spec("alexnet", "features.11", (("fc6", "classifier.1"), ("fc7", "classifier.4")), 6)
VGG16 = _spec("vgg16", "features.29", (("fc6", "classifier.0"), ("fc7", "classifier.3")), 7)
# A map of stride 8, which small objects need, trained from the first fire module of that stride on.
SQUEEZENET1_0 = _spec("squeezenet1_0", "features.12", detector_cuts=("features.10",), train_from="features.7")
SQUEEZENET1_1 = _spec("squeezenet1_1", "features.12")
RESNET18 = _spec("resnet18", "layer3")
RESNET50 = _spec("resnet50", "layer3")
GOOGLENET = _spec("googlenet", "inception4e", normalisation="inception")
MOBILENET_V3_LARGE = _spec("mobilenet_v3_large", "features.12")
