"""svm.h5 (and bbox.h5) over features.h5, or over new images, to detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sppcli.artefacts.detections import write_detections
from sppcli.artefacts.models import BoxModel, SvmModel, check_trunk, read_bbox, read_svm
from sppcli.artefacts.proposals import source_json
from sppcli.artefacts.store import Header, digest_of, is_current, open_artefact, touch_if_older
from sppcli.datasets import open_dataset
from sppcli.engine.corpus import Corpus, load_head, open_corpus, open_network
from sppcli.engine.cpus import cpu_threads
from sppcli.engine.detector import Detector, DetectSettings, ImageDetections
from sppcli.engine.prefetch import prefetch
from sppcli.engine.processes import run_many
from sppcli.engine.progress import NoProgress, Progress
from sppcli.errors import BadInput, SppError, StaleArtefact, UsageProblem
from sppcli.paper import DEFAULT
from sppcli.structures import Detections, ImageItem, Skipped

if TYPE_CHECKING:
    from sppcli.nets.backbones import FcHead
    from sppcli.proposals.search import Windows

Sink = Callable[["Found", tuple[str, ...]], None]


@dataclass(frozen=True)
class DetectConfig:
    """``bbox``: "auto" takes the file if it is there, "none" never, "file" insists on it."""

    settings: DetectSettings = field(default_factory=DetectSettings)
    split: str = "test"
    bbox: str = "auto"
    recipe: str = DEFAULT.name


@dataclass(frozen=True)
class DetectPaths:
    """Where the inputs are."""

    proposals: Path = Path("proposals.h5")
    features: Path = Path("features.h5")
    svm: Path = Path("svm.h5")
    bbox: Path = Path("bbox.h5")

    def all_there(self) -> bool:
        """Whether detection could run: box regressors are optional."""
        return all(path.exists() for path in (self.proposals, self.features, self.svm))


@dataclass(frozen=True)
class Found:
    """What was found in one image; ``size`` is (height, width)."""

    id: str
    path: str
    size: tuple[int, int]
    detections: ImageDetections


@dataclass(frozen=True)
class DetectSummary:
    """``output`` is None when the detections went to a sink only."""

    output: Path | None
    images: int
    detections: int
    classes: tuple[str, ...]
    corrected: bool
    skipped: tuple[Skipped, ...] = ()
    up_to_date: bool = False


def run(
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    dataset: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DetectSummary:
    """Detect in the images of a split, from the conv maps of features.h5.

    Args:
        output: detections.h5 to write; its header records ``config``, so that it can be made again.
        sink: called with each image's detections as they are found.

    Raises:
        MissingInput: an input is not there; says which command makes it.
        StaleArtefact: features of other proposals, or models of another network.
    """
    progress = progress or NoProgress()
    svm, bbox = _models(paths, config.bbox)
    with open_corpus(paths.proposals, paths.features, config.split, dataset) as corpus:
        for model in (svm, bbox):
            if model is not None:
                check_trunk(model, corpus.features)
        header = Header(
            "detections",
            asdict(config),
            {
                "proposals": corpus.proposals.fingerprint,
                "features": corpus.features.fingerprint,
                "svm": svm.header.fingerprint,
                **({"bbox": bbox.header.fingerprint} if bbox else {}),
                "images": digest_of([corpus.image_id(row) for row in corpus.rows]),
            },
            corpus.proposals.header.source,
        )
        if output and not sink and not force and is_current(output, "detections", header.fingerprint):
            touch_if_older(output, [paths.proposals, paths.features, paths.svm, paths.bbox])
            with open_artefact(output, "detections") as old:
                count = old.shape("scores")[0]
            return DetectSummary(output, len(corpus.rows), count, svm.classes, bbox is not None, up_to_date=True)
        if corpus.missing:
            progress.warn(
                f"{len(corpus.missing)} images of split {config.split} have no features: nothing is detected in them, "
                f"the first: {corpus.missing[0]}"
            )
        if corpus.features.scales != tuple(svm.header.summary["scales"]):
            progress.warn(f"{paths.svm} was trained at other scales than {paths.features} holds")
        heads = (
            _head(corpus, svm),
            _head(corpus, bbox) if bbox else None,
        )
        detector = Detector(svm, bbox, corpus.features.scales, config.settings, heads)
        found = []
        progress.start(len(corpus.rows), "images")
        for item in _over_features(corpus, detector):
            if sink:
                sink(item, svm.classes)
            found.append(item)
            progress.advance()
    if output:
        _write(output, header, found, svm.classes)
    count = sum(len(item.detections.scores) for item in found)
    return DetectSummary(output, len(found), count, svm.classes, bbox is not None)


def run_on_images(
    sources: Sequence[Path],
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    weights: str | None = None,
    device: str = "auto",
    jobs: int = 1,
    strict: bool = False,
    progress: Progress | None = None,
) -> DetectSummary:
    """Propose, extract and score new images in one go, with the settings that the SVMs were trained with.

    Raises:
        MissingInput, BadInput: no models, no images, or none that can be read; with ``strict``, the first that cannot.
        StaleArtefact: weights whose trunk is not the one the SVMs were trained on.
    """
    from sppcli.images import decode, digest, read_bytes
    from sppcli.nets.maps import Extractor, choose_device
    from sppcli.nets.windows import HeldMaps
    from sppcli.proposals.compiling import prepare
    from sppcli.proposals.search import SELECTIVE_SEARCH, ProposeConfig, propose_image

    progress = progress or NoProgress()
    images = open_dataset(sources)
    svm, bbox = _models(paths, config.bbox)
    source = svm.header.source
    chosen = weights or source["head_weights"]
    network = open_network(source["network"], chosen)
    for model in (svm, bbox):
        if model is not None and model.record.network.digest != network.digest:
            raise StaleArtefact(
                f"{model.path} was trained on another network than {network.weights} holds; give the right --weights"
            )
    stored = svm.header.summary
    scales = tuple(stored["scales"])
    extractor = Extractor(network, choose_device(device), stored["precision"])
    heads = (
        network.head if svm.record.layer != "pool5" else None,
        network.head if bbox and bbox.record.layer != "pool5" else None,
    )
    detector = Detector(svm, bbox, scales, config.settings, heads)
    propose = ProposeConfig(**stored["proposals"])
    if not propose.methods:
        raise UsageProblem(
            f"{paths.svm} was trained on imported windows, which new images do not have: import theirs with spp "
            "propose --import, then run spp extract and spp detect without naming images"
        )
    if propose.imports:
        progress.warn(
            f"{paths.svm} was trained on windows by {' and '.join(propose.methods)} and imported ones: new images get "
            "only the former"
        )
    found: list[Found] = []
    skipped: list[Skipped] = []
    digests: list[str] = []
    if SELECTIVE_SEARCH in propose.methods:
        prepare(propose.engine, jobs, progress)
    progress.start(len(images.images), "images")
    for index, windows in _in_order(partial(propose_image, config=propose), images.images, jobs):
        item = images.images[index]
        name = (
            item.path.relative_to(images.root).as_posix() if item.path.is_relative_to(images.root) else str(item.path)
        )
        try:
            if windows.problem:
                raise BadInput(windows.problem)
            data = read_bytes(item.path)
            pixels = decode(data, str(item.path))
            maps = HeldMaps(windows.size, tuple(extractor(pixels, scale, str(item.path)) for scale in scales))
        except SppError as error:
            if strict:
                raise
            progress.warn(f"skipped: {error}")
            skipped.append(Skipped(name, str(error)))
        else:
            one = Found(item.id, name, windows.size, detector.detect(maps, windows.boxes))
            if sink:
                sink(one, svm.classes)
            found.append(one)
            digests.append(digest(data))
        progress.advance()
    if not found:
        raise BadInput(f"none of the {len(images.images)} images could be read; the first: {skipped[0].reason}")
    if output:
        inputs = {"svm": svm.header.fingerprint, "images": digest_of(digests)}
        header = Header(
            "detections",
            asdict(config),
            {**inputs, **({"bbox": bbox.header.fingerprint} if bbox else {})},
            source_json(images.kind, [str(path) for path in images.sources], str(images.root)),
        )
        _write(output, header, found, svm.classes)
    count = sum(len(item.detections.scores) for item in found)
    return DetectSummary(output, len(found), count, svm.classes, bbox is not None, tuple(skipped))


def recorded_config(path: Path) -> DetectConfig | None:
    """The options that made a detections file; None if it was made of new images, not of features.h5."""
    with open_artefact(path, "detections") as artefact:
        if "features" not in artefact.header.inputs:
            return None
        config = artefact.header.config
    return DetectConfig(DetectSettings(**config["settings"]), config["split"], config["bbox"], config["recipe"])


def _models(paths: DetectPaths, bbox: str) -> tuple[SvmModel, BoxModel | None]:
    svm = read_svm(paths.svm)
    if bbox == "none" or (bbox == "auto" and not paths.bbox.exists()):
        return svm, None
    return svm, read_bbox(paths.bbox)


def _head(corpus: Corpus, model: SvmModel | BoxModel) -> FcHead | None:
    head, digest = load_head(corpus.features, model.record.layer, model.header.source["head_weights"])
    if digest != model.record.head_digest:
        raise StaleArtefact(f"{model.path} was trained on other fc layers than the weights hold; train it again")
    return head


def _over_features(corpus: Corpus, detector: Detector) -> Iterator[Found]:
    def load(row: int) -> Found:
        maps = corpus.maps(row)
        found = detector.detect(maps, corpus.windows(row))
        return Found(corpus.image_id(row), corpus.features.images.paths[row], maps.size, found)

    yield from prefetch(load, corpus.rows, ahead=1)


def _in_order(
    function: Callable[[ImageItem], Windows], items: Sequence[ImageItem], jobs: int
) -> Iterator[tuple[int, Windows]]:
    """Results of `run_many` in the order of the items, so that the output does not depend on the processes."""
    held: dict[int, Windows] = {}
    wanted = 0
    for index, result in run_many(function, items, min(jobs, cpu_threads())):
        held[index] = result
        while wanted in held:
            yield wanted, held.pop(wanted)
            wanted += 1


def _write(output: Path, header: Header, found: Sequence[Found], classes: tuple[str, ...]) -> None:
    detections = collect(found, classes)
    sizes = np.array([item.size for item in found], dtype=np.int64).reshape(-1, 2)
    write_detections(output, header, detections, tuple(item.path for item in found), sizes)


def collect(found: Sequence[Found], classes: tuple[str, ...]) -> Detections:
    """The detections of many images as one table."""
    counts = [len(item.detections.scores) for item in found]
    return Detections(
        tuple(item.id for item in found),
        classes,
        np.repeat(np.arange(len(found), dtype=np.int64), counts),
        np.concatenate([np.zeros(0, np.int64), *(item.detections.labels for item in found)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(item.detections.boxes for item in found)]),
        np.concatenate([np.zeros(0, np.float32), *(item.detections.scores for item in found)]),
    )
