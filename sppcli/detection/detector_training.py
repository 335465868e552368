"""How a detector is trained as one network: its options, and what stages that train one share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch

from sppcli.artefacts.networks import NetworkHeader, describes_itself
from sppcli.detection.rois import RoiSampling
from sppcli.detection.split import ImageSplit
from sppcli.learn.detector import DetectorTraining
from sppcli.nets.backbones import SPECS, Network
from sppcli.nets.detector import DetectorArchitecture, SppDetector
from sppcli.nets.weights import load_network


@dataclass(frozen=True, kw_only=True)
class TrainDetectorConfig:
    """What is trained on what.

    ``backbone``, ``weights``, ``normalisation``: see `load_network`; ``cut``: layers that give the conv maps, in the
    order of the backbone; ``train_from``: the first layer of the trunk that learns, "all" or "none"; None for both:
    what `backbones.BackboneSpec` says. ``validation``: split whose mAP is reported after each epoch.
    """

    backbone: str | None = None
    weights: str = "imagenet"
    cut: tuple[str, ...] | None = None
    normalisation: str | None = None
    train_from: str | None = None
    pyramid: tuple[int, ...] = (3, 2, 1)
    channels: int = 128
    fc: tuple[int, ...] = (512, 512)
    split: str = "trainval"
    validation: str | None = None
    sampling: RoiSampling = field(default_factory=RoiSampling)
    training: DetectorTraining = field(default_factory=DetectorTraining)
    precision: str = "auto"
    seed: int = 0

    @classmethod
    def recorded(cls, value: Mapping[str, Any]) -> Self:
        """The options that a network's file holds of its training."""
        lists = {name: tuple(value[name]) for name in ("cut", "pyramid", "fc")}
        parts = {"sampling": RoiSampling(**value["sampling"]), "training": DetectorTraining(**value["training"])}
        found = cls(**{**value, **lists, **parts})
        # A network of ours says itself where it is cut, and is not to be told.
        return replace(found, cut=None) if describes_itself(Path(found.weights)) else found


def of_network(config: TrainDetectorConfig) -> tuple[TrainDetectorConfig, Network]:
    """The network that is trained on, and the config with its backbone's defaults where nothing is asked for."""
    network = load_network(
        config.weights, config.backbone, config.cut[-1] if config.cut else None, config.normalisation
    )
    ours = network.backbone not in SPECS
    usual = () if ours else SPECS[network.backbone].detector_cuts
    cut = config.cut or usual or (network.cut,)
    train_from = config.train_from or ("all" if ours else SPECS[network.backbone].train_from)
    if cut[-1] != network.cut:
        network = load_network(config.weights, network.backbone, cut[-1], config.normalisation)
    return replace(config, cut=cut, train_from=train_from), network


def training_header(
    data: ImageSplit, held: ImageSplit | None, network: Network, config: TrainDetectorConfig, precision: str
) -> NetworkHeader:
    """What decides the file: weights, and the validation that it reports."""
    # Where the trunk's weights lie decides nothing; the digest says which they are.
    chosen = {name: value for name, value in asdict(config).items() if name not in ("weights", "backbone", "precision")}
    facts: dict[str, Any] = {
        "stage": "train-detector",
        "config": chosen,
        "precision": precision,
        "trunk": network.digest,
        "proposals": data.proposals.fingerprint,
        "annotations": data.annotation_digest(),
        "images": [data.image_id(image) for image in data.images],
        "validation": held.annotation_digest() if held else "",
    }
    return NetworkHeader(facts)


def new_detector(
    network: Network, classes: tuple[str, ...], config: TrainDetectorConfig
) -> tuple[SppDetector, list[torch.nn.Parameter]]:
    """The detector on the network's trunk, new weights drawn by the seed, and the trunk's parameters that learn."""
    assert config.cut
    assert config.train_from
    architecture = DetectorArchitecture.on(network, classes, config.pyramid, config.channels, config.fc, config.cut)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = SppDetector(architecture)
        model.initialise(network)
    return model, model.train_from(config.train_from)
