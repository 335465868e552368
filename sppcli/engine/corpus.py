"""Windows, conv maps and ground truth of the images of one split: what training and detection go through."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppcli.artefacts.features import Features, ImageMaps, NetworkRecord, open_features
from sppcli.artefacts.models import FeatureRecord
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.datasets import open_dataset
from sppcli.datasets.base import Dataset
from sppcli.engine.progress import Progress
from sppcli.errors import BadInput, MissingInput, StaleArtefact, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.nets.windows import WindowReader
from sppcli.paper import DEFAULT
from sppcli.structures import Annotations, Boxes

if TYPE_CHECKING:
    from sppcli.nets.backbones import FcHead, Network


@dataclass(frozen=True)
class Corpus:
    """``rows``: indices into ``features.images`` of the images of the split, in order of id."""

    proposals: Proposals
    features: Features
    dataset: Dataset
    split: str
    rows: tuple[int, ...]
    missing: tuple[str, ...]

    def image_id(self, row: int) -> str:
        return self.features.images.ids[row]

    def windows(self, row: int) -> Boxes:
        """Proposals (N, 4) of the image."""
        return self.proposals.of(self.proposals.images.ids.index(self.image_id(row)))

    def maps(self, row: int) -> ImageMaps:
        return self.features.maps(row)

    def truth(self, row: int) -> Annotations:
        return self.dataset.annotations(self.image_id(row))

    def annotation_digest(self) -> str:
        return self.dataset.annotation_digest(self.image_id(row) for row in self.rows)


@contextmanager
def open_corpus(proposals_path: Path, features_path: Path, split: str, dataset: Path | None = None) -> Iterator[Corpus]:
    """Open what belongs together, or say what does not.

    Args:
        split: a split of the data set, or "all".
        dataset: where the data set lies now, if it is no longer where `spp propose` found it.

    Raises:
        MissingInput: a file, the data set or the split is not there.
        StaleArtefact: the features were made from other proposals.
    """
    proposals = read_proposals(proposals_path)
    with open_features(features_path) as features:
        features.check_proposals(proposals)
        opened = reopen_dataset(proposals, dataset)
        rows = {image_id: row for row, image_id in enumerate(features.images.ids)}
        wanted = opened.split(split)
        missing = tuple(image_id for image_id in wanted if image_id not in rows)
        yield Corpus(
            proposals,
            features,
            opened,
            split,
            tuple(rows[image_id] for image_id in wanted if image_id in rows),
            missing,
        )


def reopen_dataset(proposals: Proposals, dataset: Path | None = None) -> Dataset:
    """The data set that the proposals were made of."""
    sources: Sequence[Path] = [dataset] if dataset else [Path(source) for source in proposals.sources]
    gone = [source for source in sources if not source.exists()]
    if gone and not dataset:
        raise MissingInput(
            f"{gone[0]}: the images of {proposals.path} are no longer there; say where they are with --dataset"
        )
    return open_dataset(sources)


def require_annotations(dataset: Dataset) -> None:
    """Refuse a data set without ground truth.

    Raises:
        BadInput: says what is expected where.
    """
    if not dataset.has_annotations:
        raise BadInput(
            f"{dataset.root} has no annotations: training and evaluation need a PASCAL VOC folder "
            "(JPEGImages, Annotations, ImageSets) or a COCO, YOLO or CSV data set"
        )


def choose_levels(
    network: NetworkRecord, layer: str, pyramid: tuple[int, ...] | None, head: FcHead | None
) -> tuple[int, ...]:
    """The pyramid to pool with: what the fc layers read, what was asked for, what the network has, or the paper's.

    Raises:
        UsageProblem: a pyramid that the fc layers cannot read.
    """
    if head is not None:
        if pyramid is not None and pyramid != head.levels:
            levels = ",".join(map(str, head.levels))
            raise UsageProblem(
                f"--layer {layer} of {network.backbone} reads a pyramid of {levels}; leave out --pyramid or use pool5"
            )
        return head.levels
    return pyramid or network.pyramid or DEFAULT.pyramid


@dataclass(frozen=True)
class WindowSettings:
    """How windows are read and their features normalised: see `paper.Recipe`. ``pyramid`` None: the network's."""

    layer: str = "pool5"
    pyramid: tuple[int, ...] | None = None
    scale_rule: str = DEFAULT.scale_rule
    window_side: str = DEFAULT.window_side
    slack: float = DEFAULT.slack
    normalize: str = DEFAULT.normalize
    feature_norm: float = DEFAULT.feature_norm

    def record(
        self, network: NetworkRecord, levels: tuple[int, ...], head_digest: str, factor: float = 1.0
    ) -> FeatureRecord:
        """What a model stores, so that detection reads windows the same way."""
        side = float(network.canonical) if self.window_side == "input" else network.canonical_cells * network.stride
        return FeatureRecord(
            network, self.layer, levels, self.scale_rule, side, self.slack, self.normalize, factor, head_digest
        )


@dataclass(frozen=True)
class Training:
    """What the two trainings share: how windows are read, and the provenance of what is learnt.

    ``settings`` and ``inputs`` go into the header; ``source`` too, with where the fc layers were read from.
    """

    corpus: Corpus
    windows: WindowSettings
    levels: tuple[int, ...]
    head: FcHead | None
    head_digest: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    source: dict[str, Any]

    @property
    def reader(self) -> WindowReader:
        return window_reader(self.corpus.features.scales, self.record(), self.head)

    def record(self, factor: float = 1.0) -> FeatureRecord:
        return self.windows.record(self.corpus.features.network, self.levels, self.head_digest, factor)

    def warn_of_data(self, progress: Progress) -> None:
        """What was left out of the training and why."""
        for warning in self.corpus.dataset.warnings:
            progress.warn(warning)
        missing = self.corpus.missing
        if missing:
            progress.warn(
                f"{len(missing)} images of split {self.corpus.split} have no features and are left out, "
                f"the first: {missing[0]}"
            )


def plan_training(corpus: Corpus, windows: WindowSettings, config: dict[str, Any], weights: str | None) -> Training:
    """Settle layer, pyramid and provenance of a training with the options ``config``.

    Raises:
        BadInput: no annotations.
        UsageProblem: a layer or pyramid that the network does not have.
        StaleArtefact: weights of another trunk.
    """
    require_annotations(corpus.dataset)
    head, head_digest = load_head(corpus.features, windows.layer, weights)
    levels = choose_levels(corpus.features.network, windows.layer, windows.pyramid, head)
    inputs = {
        "proposals": corpus.proposals.fingerprint,
        "features": corpus.features.fingerprint,
        "annotations": corpus.annotation_digest(),
    }
    settings = {**config, "pyramid": list(levels), "head": head_digest}
    source = {**corpus.features.header.source, "head_weights": weights}
    return Training(corpus, windows, levels, head, head_digest, settings, inputs, source)


def load_head(features: Features, layer: str, weights: str | None = None) -> tuple[FcHead | None, str]:
    """The fc layers that ``layer`` needs and their digest; None and "" for pool5.

    Raises:
        UsageProblem: a layer that the network does not have.
        StaleArtefact: weights whose trunk did not make the maps.
    """
    if layer == "pool5":
        return None, ""
    from sppcli.nets.weights import load_network

    network = load_network(**{**features.header.source["network"], **({"weights": weights} if weights else {})})
    if network.digest != features.network.digest:
        raise StaleArtefact(
            f"{network.weights} holds another trunk ({network.digest[:8]}) than made the maps in {features.path} "
            f"({features.network.digest[:8]}); give the right --weights or run spp extract again"
        )
    return head_of(network, layer)


def head_of(network: Network, layer: str) -> tuple[FcHead | None, str]:
    """The fc layers of ``network`` that ``layer`` needs and their digest; None and "" for pool5.

    Raises:
        UsageProblem: a layer that the network does not have.
    """
    if layer == "pool5":
        return None, ""
    if network.head is None or layer not in network.head.layers:
        has = ", ".join(("pool5", *(network.head.layers if network.head else ())))
        raise UsageProblem(f"{network.backbone} cut after {network.cut} has no layer {layer}; it has {has}")
    digest = hashlib.sha256()
    for name, (weight, bias) in network.head.layers.items():
        digest.update(name.encode() + weight.numpy().tobytes() + bias.numpy().tobytes())
        if name == layer:
            break
    return network.head, digest.hexdigest()


def record_of(network: Network) -> NetworkRecord:
    """What artefacts store of ``network``."""
    return NetworkRecord(
        network.backbone,
        network.cut,
        network.digest,
        network.grid.stride,
        network.grid.centre,
        network.channels,
        network.canonical,
        network.canonical_cells,
        network.levels or (),
    )


def window_reader(scales: tuple[int, ...], record: FeatureRecord, head: FcHead | None) -> WindowReader:
    """What turns maps and boxes into the features that ``record`` describes, not yet normalised."""
    network = record.network
    grid = CellGrid(network.stride, network.centre, record.slack)
    return WindowReader(
        scales, grid, record.window_side, network.channels, record.levels, record.scale_rule, record.layer, head
    )
