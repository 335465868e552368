"""Loads the network that made the conv maps and its fc layers, and makes the reader of regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sppcli.artefacts.features import Features, NetworkRecord
from sppcli.artefacts.models import FeatureRecord
from sppcli.detection.svd_cache import Truncate, truncated
from sppcli.errors import BadInput, StaleArtefact, UsageProblem
from sppcli.features.windows import WindowReader
from sppcli.geometry.projection import CellGrid
from sppcli.runtime.url_transfer import at_hand

if TYPE_CHECKING:
    import torch

    from sppcli.nets.backbones import FcHead, Network


def load_head(
    features: Features, layer: str, weights: str | None = None, svd: tuple[int, ...] = ()
) -> tuple[FcHead | None, str]:
    """The fc layers that ``layer`` needs, truncated to the ranks ``svd``, and their digest; None and "" for pool5.

    R-CNN's features have been through them: None and the digest.

    Raises:
        UsageProblem: a layer that the network does not have, or ranks that do not fit it.
        StaleArtefact: weights whose trunk did not make the maps.
    """
    if features.rcnn is not None:
        return None, features.rcnn.head_digest
    if layer == "pool5":
        return head_of(None, layer, svd)
    return head_of(network_of_maps(features, weights), layer, svd)


def open_network(source: Mapping[str, Any], weights: str | None = None) -> Network:
    """The network that ``source`` describes (arguments of `load_network`), or with other ``weights``."""
    from sppcli.nets.weights import describes_itself, load_network

    at_hand(weights or source["weights"])
    if weights and describes_itself(weights):
        return load_network(weights)
    names = {"reads": "normalisation"}
    arguments = {names.get(name, name): value for name, value in source.items()}
    if arguments["weights"] == "imagenet" and arguments["backbone"] is None:
        arguments["backbone"] = "alexnet"  # the default when such files were made
    return load_network(**{**arguments, **({"weights": weights} if weights else {})})


def network_of_maps(features: Features, weights: str | None = None) -> Network:
    """The network that made the maps, or ``weights`` of one with the same trunk.

    Raises:
        StaleArtefact: weights whose trunk did not make the maps.
    """
    network = open_network(features.header.source["network"], weights)
    if network.digest != features.network.digest:
        raise StaleArtefact(
            f"{network.weights} holds another trunk ({network.digest[:8]}) than made the maps in {features.path} "
            f"({features.network.digest[:8]}); give the right --weights or run spp extract again"
        )
    return network


def head_of(
    network: Network | None, layer: str, svd: tuple[int, ...] = (), truncate: Truncate = truncated
) -> tuple[FcHead | None, str]:
    """As `load_head`, of a ``network``, which pool5 does not need.

    ``truncate``: the function that truncates.
    """
    if layer == "pool5":
        if svd:
            raise UsageProblem("--svd truncates fully connected layers, and pool5 has none; give --layer fc6 or fc7")
        return None, ""
    assert network is not None
    if layer in network.absent:
        raise BadInput(f"{network.absent[layer]}, which {layer} needs; give weights that have it, or --layer pool5")
    if network.head is None or layer not in network.head.layers:
        has = ", ".join(("pool5", *(network.head.layers if network.head else ())))
        raise UsageProblem(f"{network.backbone} cut after {network.cut} has no layer {layer}; it has {has}")
    digest = network.head.digest(layer, svd)
    return (truncate(network.head, layer, svd, digest) if svd else network.head), digest


def record_of(network: Network) -> NetworkRecord:
    """What artefacts record of ``network``."""
    return NetworkRecord(
        network.backbone,
        network.cut,
        network.digest,
        network.grid.stride,
        network.grid.centre,
        network.channels,
        network.input_size,
        network.input_cells,
        network.levels or (),
    )


def window_reader(
    scales: tuple[int, ...], record: FeatureRecord, head: FcHead | None, device: torch.device | None = None
) -> WindowReader:
    """Make the reader that turns maps and boxes into the features that ``record`` describes, not yet normalised.

    ``device``: a GPU to pool regions and run the ``head`` on; None for the CPU.
    """
    if head is not None:
        head = head.moved(device, record.precision)
    network = record.network
    grid = CellGrid(network.stride, network.centre, record.slack)
    return WindowReader(
        scales, grid, record.window_side, network.channels, record.levels, record.scale_rule, record.layer, head, device
    )
