"""Plans the training of linear models: how features of regions are made, and the provenance of the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sppcli.artefacts.features import NetworkRecord, RcnnRecord
from sppcli.artefacts.models import FeatureRecord
from sppcli.datasets.formats import require_annotations
from sppcli.detection.networks import load_head, window_reader
from sppcli.detection.split import SplitData
from sppcli.errors import UsageProblem
from sppcli.features.normalise import Normaliser, fit_normaliser
from sppcli.features.windows import WindowReader
from sppcli.paper import DEFAULT
from sppcli.runtime.counts import count_of
from sppcli.runtime.progress import Progress
from sppcli.runtime.shards import Shard
from sppcli.structures import FloatArray, ImageRef

if TYPE_CHECKING:
    import torch

    from sppcli.nets.backbones import FcHead


_WITHOUT_FEATURES = ("image has no features and is left out", "images have no features and are left out")


def choose_levels(
    network: NetworkRecord, layer: str, pyramid: tuple[int, ...] | None, head: FcHead | None
) -> tuple[int, ...]:
    """Choose the pyramid: the one that the fc layers read, the one asked for, the network's own, or the paper's.

    Raises:
        UsageProblem: the fc layers cannot read the pyramid.
    """
    if head is not None:
        if pyramid is not None and pyramid != head.levels:
            levels = ",".join(map(str, head.levels))
            raise UsageProblem(
                f"--layer {layer} of {network.backbone} reads a pyramid of {levels}; leave out --pyramid or use pool5"
            )
        return head.levels
    return pyramid or network.pyramid or DEFAULT.pyramid


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How features of regions are made and normalised: see `paper.Recipe`. ``pyramid`` None: the network's.

    ``layer`` None: pool5 of conv maps; of R-CNN's features the layer that they are. ``svd``: ranks that its fc layers
    are truncated to, () for none; ``precision``: theirs, one of `nets.maps.PRECISIONS`.
    """

    layer: str | None = None
    pyramid: tuple[int, ...] | None = None
    scale_rule: str = DEFAULT.scale_rule
    window_side: str = DEFAULT.window_side
    slack: float = DEFAULT.slack
    normalize: str = DEFAULT.normalize
    feature_norm: float = DEFAULT.feature_norm
    svd: tuple[int, ...] = ()
    precision: str = "fp32"

    def to_json(self) -> dict[str, Any]:
        """What decides the features, for fingerprints."""
        usual = {name for name in ("svd", "precision") if getattr(self, name) == getattr(WindowSettings, name)}
        return {name: value for name, value in asdict(self).items() if name not in usual}

    def record(
        self,
        network: NetworkRecord,
        levels: tuple[int, ...],
        head_digest: str,
        factor: float = 1.0,
        rcnn: RcnnRecord | None = None,
    ) -> FeatureRecord:
        """The record that a model stores, so that detection makes features in the same way."""
        side = float(network.input_size) if self.window_side == "input" else network.input_cells * network.stride
        return FeatureRecord(
            network,
            self.layer or "pool5",
            levels,
            self.scale_rule,
            side,
            self.slack,
            self.normalize,
            factor,
            head_digest,
            rcnn,
            self.svd,
            self.precision,
        )


@dataclass(frozen=True)
class Training:
    """What the two trainings share: how regions are read, and the provenance of what is learnt.

    ``device``: see `networks.window_reader`. ``settings`` and ``inputs`` go into the header; ``source`` too, with where
    the fc layers were read from.
    """

    data: SplitData
    windows: WindowSettings
    levels: tuple[int, ...]
    head: FcHead | None
    head_digest: str
    device: torch.device | None
    settings: dict[str, Any]
    inputs: dict[str, str]
    source: dict[str, Any]

    @property
    def reader(self) -> WindowReader:
        return window_reader(self.data.features.scales, self.record(), self.head, self.device)

    def record(self, factor: float = 1.0) -> FeatureRecord:
        features = self.data.features
        return self.windows.record(features.network, self.levels, self.head_digest, factor, features.rcnn)

    def warn_of_data(self, progress: Progress) -> None:
        """Warn of images that are left out of the training."""
        for warning in self.data.dataset.remarks():
            progress.warn(warning)
        missing = self.data.missing
        if missing:
            progress.warn(
                f"split {self.data.split}: {count_of(len(missing), *_WITHOUT_FEATURES)}, the first: {missing[0]}"
            )


def dealt_classes(classes: tuple[str, ...], shard: Shard | None) -> tuple[str, ...]:
    """Those of ``classes`` that are trained in ``shard``; all without one.

    Raises:
        UsageProblem: there are more shards than classes.
    """
    if shard is None:
        return classes
    if shard.of > len(classes):
        raise UsageProblem(
            f"there are {shard.of} shards of {count_of(len(classes), 'class', 'classes')}; make no more of them than "
            "there are classes"
        )
    return shard.dealt(classes)


MEASURED = 200
"""How many images, and regions of each, the mean feature length is measured on: the release's numbers."""


def measure_normaliser(
    data: SplitData, reader: WindowReader, windows: WindowSettings, rng: np.random.Generator
) -> Normaliser:
    """Make the normaliser that brings features of ``data``'s regions to a mean length of ``windows.feature_norm``.

    Measured on at most 200 random images with at most 200 random regions of any kind each, ground-truth boxes included,
    as in the release: whatever is trained on them, the same data and seed give the same factor. Vectors that are
    brought to length 1 each need no measuring.
    """
    if windows.normalize != "none":
        return Normaliser(windows.normalize, windows.feature_norm)

    def some(image: ImageRef) -> FloatArray:
        boxes = data.objects_and_windows(image)
        return reader.features(data.maps(image), boxes[rng.permutation(len(boxes))[:MEASURED]])

    order = rng.permutation(len(data.images))[:MEASURED].tolist()
    return fit_normaliser(windows.normalize, (some(data.images[i]) for i in order), windows.feature_norm)


def plan_training(
    data: SplitData, windows: WindowSettings, config: dict[str, Any], weights: str | None, device: str = "auto"
) -> Training:
    """Determine layer, pyramid, device and provenance of a training with the options ``config``.

    Raises:
        BadInput: no annotations.
        UsageProblem: a layer or pyramid that the network, or R-CNN's features, do not have; no such device.
        StaleArtefact: weights of another trunk.
    """
    require_annotations(data.dataset)
    rcnn = data.features.rcnn
    if rcnn is None:
        windows = replace(windows, layer=windows.layer or "pool5")
    else:
        if (
            windows.svd
            or windows.layer not in (None, rcnn.layer)
            or windows.pyramid not in (None, rcnn.levels)
            or weights
        ):
            raise UsageProblem(
                f"{data.features.path} holds {rcnn.layer} of each region, as R-CNN: leave out --layer, --pyramid, "
                "--svd and --weights, or give --layer to spp extract --method rcnn"
            )
        windows = replace(windows, layer=rcnn.layer, pyramid=rcnn.levels)
    layer = windows.layer or "pool5"
    place, precision = None, "fp32"
    if not rcnn and layer != "pool5":
        place, precision = _fc_place(device, windows.precision)
    windows = replace(windows, precision=precision)
    head, head_digest = load_head(data.features, layer, weights, windows.svd)
    levels = rcnn.levels if rcnn else choose_levels(data.features.network, layer, windows.pyramid, head)
    inputs = {
        "proposals": data.proposals.fingerprint,
        "features": data.features.fingerprint,
        "annotations": data.annotation_digest(),
    }
    settings = {**config, "windows": windows.to_json(), "pyramid": list(levels), "head": head_digest}
    # A file is found again from any folder.
    where = str(Path(weights).resolve()) if weights and weights != "imagenet" else weights
    source = {**data.features.header.source, "head_weights": where}
    return Training(data, windows, levels, head, head_digest, place, settings, inputs, source)


def _fc_place(device: str, precision: str) -> tuple[torch.device | None, str]:
    """Return where fc layers run, as `window_reader` takes it, and in which precision."""
    from sppcli.features.conv_maps import choose_device, choose_precision, gpu

    place = choose_device(device)
    return gpu(place), choose_precision(precision, place)
