"""Windows, conv maps and ground truth of the images of one split: what training and detection go through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppcli.artefacts.features import CropRecord, Features, ImageMaps, ImageVectors, NetworkRecord, open_features
from sppcli.artefacts.models import FeatureRecord
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.datasets import open_dataset
from sppcli.datasets.base import Dataset
from sppcli.engine.networks import load_head, window_reader
from sppcli.engine.progress import Progress
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.geometry.boxes import flip
from sppcli.nets.windows import WindowReader
from sppcli.paper import DEFAULT
from sppcli.structures import Annotations, Boxes

if TYPE_CHECKING:
    import torch

    from sppcli.nets.backbones import FcHead


@dataclass(frozen=True)
class Corpus:
    """``rows``: indices into ``features.images`` of the images of the split, in order of id.

    The row ``~i`` is the mirror image of ``i``; see `with_mirrors`.
    """

    proposals: Proposals
    features: Features
    dataset: Dataset
    split: str
    rows: tuple[int, ...]
    missing: tuple[str, ...]

    def image_id(self, row: int) -> str:
        return self.features.images.ids[max(row, ~row)]

    def with_mirrors(self) -> Corpus:
        """The same images and their mirror images.

        Raises:
            UsageProblem: the features hold no maps of them.
        """
        if not self.features.mirrored:
            raise UsageProblem(f"{self.features.path} holds no mirror images; run spp extract --flip first")
        return replace(self, rows=(*self.rows, *(~row for row in self.rows)))

    def _mirrored(self, row: int, boxes: Boxes) -> Boxes:
        return flip(boxes, int(self.features.images.sizes[~row][1])) if row < 0 else boxes

    @cached_property
    def _proposal_rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.proposals.images.ids)}

    def windows(self, row: int) -> Boxes:
        """Proposals (N, 4) of the image."""
        return self._mirrored(row, self.proposals.of(self._proposal_rows[self.image_id(row)]))

    def most_windows(self) -> int:
        """Objects and proposals of the image that has the most."""
        return max((len(self.windows(row)) + len(self.truth(row).boxes) for row in self.rows), default=0)

    def maps(self, row: int) -> ImageMaps | ImageVectors:
        """The image's conv maps, or R-CNN's features of its windows: what a `WindowReader` reads."""
        if self.features.crops:
            return self.features.vectors(row)
        return self.features.maps(max(row, ~row), mirrored=row < 0)

    def truth(self, row: int) -> Annotations:
        truth = self.dataset.annotations(self.image_id(row))
        return replace(truth, boxes=self._mirrored(row, truth.boxes))

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
    with open_corpora(proposals_path, [features_path], split, dataset) as (corpus,):
        yield corpus


@contextmanager
def open_corpora(
    proposals_path: Path, features_paths: Sequence[Path], split: str, dataset: Path | None = None
) -> Iterator[tuple[Corpus, ...]]:
    """As `open_corpus`, of several networks: row i of each is the same image, one that all have features of."""
    proposals = read_proposals(proposals_path)
    with ExitStack() as stack:
        several = [stack.enter_context(open_features(path)) for path in features_paths]
        for features in several:
            features.check_proposals(proposals)
        opened = reopen_dataset(proposals, dataset)
        rows = [{image_id: row for row, image_id in enumerate(features.images.ids)} for features in several]
        wanted = opened.split(split)
        there = [image_id for image_id in wanted if all(image_id in known for known in rows)]
        missing = tuple(sorted(set(wanted) - set(there)))
        yield tuple(
            Corpus(proposals, features, opened, split, tuple(known[image_id] for image_id in there), missing)
            for features, known in zip(several, rows, strict=True)
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
    """How windows are read and their features normalised: see `paper.Recipe`. ``pyramid`` None: the network's.

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
        crops: CropRecord | None = None,
    ) -> FeatureRecord:
        """What a model stores, so that detection reads windows the same way."""
        side = float(network.canonical) if self.window_side == "input" else network.canonical_cells * network.stride
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
            crops,
            self.svd,
            self.precision,
        )


@dataclass(frozen=True)
class Training:
    """What the two trainings share: how windows are read, and the provenance of what is learnt.

    ``device``: see `networks.window_reader`. ``settings`` and ``inputs`` go into the header; ``source`` too, with where
    the fc layers were read from.
    """

    corpus: Corpus
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
        return window_reader(self.corpus.features.scales, self.record(), self.head, self.device)

    def record(self, factor: float = 1.0) -> FeatureRecord:
        features = self.corpus.features
        return self.windows.record(features.network, self.levels, self.head_digest, factor, features.crops)

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


def plan_training(
    corpus: Corpus, windows: WindowSettings, config: dict[str, Any], weights: str | None, device: str = "auto"
) -> Training:
    """Settle layer, pyramid, device and provenance of a training with the options ``config``.

    Raises:
        BadInput: no annotations.
        UsageProblem: a layer or pyramid that the network, or R-CNN's features, do not have; no such device.
        StaleArtefact: weights of another trunk.
    """
    require_annotations(corpus.dataset)
    crops = corpus.features.crops
    if crops is None:
        windows = replace(windows, layer=windows.layer or "pool5")
    else:
        if (
            windows.svd
            or windows.layer not in (None, crops.layer)
            or windows.pyramid not in (None, crops.levels)
            or weights
        ):
            raise UsageProblem(
                f"{corpus.features.path} holds {crops.layer} of each window, as R-CNN: leave out --layer, --pyramid, "
                "--svd and --weights, or give --layer to spp extract --method rcnn"
            )
        windows = replace(windows, layer=crops.layer, pyramid=crops.levels)
    layer = windows.layer or "pool5"
    place, precision = None, "fp32"
    if not crops and layer != "pool5":
        place, precision = _fc_place(device, windows.precision)
    windows = replace(windows, precision=precision)
    head, head_digest = load_head(corpus.features, layer, weights, windows.svd)
    levels = crops.levels if crops else choose_levels(corpus.features.network, layer, windows.pyramid, head)
    inputs = {
        "proposals": corpus.proposals.fingerprint,
        "features": corpus.features.fingerprint,
        "annotations": corpus.annotation_digest(),
    }
    settings = {**config, "windows": windows.to_json(), "pyramid": list(levels), "head": head_digest}
    # A file is found again from any folder.
    where = str(Path(weights).resolve()) if weights and weights != "imagenet" else weights
    source = {**corpus.features.header.source, "head_weights": where}
    return Training(corpus, windows, levels, head, head_digest, place, settings, inputs, source)


def _fc_place(device: str, precision: str) -> tuple[torch.device | None, str]:
    """Where fc layers run, as `window_reader` takes it, and in which precision."""
    from sppcli.nets.maps import choose_device, choose_precision, gpu

    place = choose_device(device)
    return gpu(place), choose_precision(precision, place)
