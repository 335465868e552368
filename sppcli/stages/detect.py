"""svm.h5 (and bbox.h5) over features.h5, or over new images, to detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sppcli.artefacts.detections import write_detections
from sppcli.artefacts.models import BoxModel, SvmModel, check_trunk
from sppcli.artefacts.proposals import source_json
from sppcli.artefacts.store import Header, digest_of, is_current, open_artefact, touch_if_older
from sppcli.datasets import open_dataset
from sppcli.detection.detector import Detector, DetectSettings, ImageDetections, Scorer, head_of_model
from sppcli.detection.factors import SvdCache, Truncate
from sppcli.detection.models import ModelPaths, model_inputs, numbered, read_models, same_proposals
from sppcli.detection.networks import network_of_maps
from sppcli.detection.split import SplitData, open_splits
from sppcli.errors import BadInput, SppError, UsageProblem
from sppcli.paper import DEFAULT
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.processes import run_many
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.structures import Detections, ImageItem, Skipped

if TYPE_CHECKING:
    from sppcli.nets.backbones import FcHead
    from sppcli.proposals.propose import Windows

Sink = Callable[["Found", tuple[str, ...]], None]


@dataclass(frozen=True)
class DetectConfig:
    """``bbox``: "auto" takes the file if it is there, "none" never, "file" insists on it. ``svd``: ranks to truncate
    the fc layers to, of models that were trained on whole ones; () for none.
    """

    settings: DetectSettings = field(default_factory=DetectSettings)
    split: str = "test"
    bbox: str = "auto"
    recipe: str = DEFAULT.name
    svd: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What decides the detections, for fingerprints and `recorded`."""
        return {name: value for name, value in asdict(self).items() if name != "svd" or value}


@dataclass(frozen=True)
class DetectPaths:
    """Where the inputs are. Several models detect together: see `detection.detector.Detector`."""

    proposals: Path = Path("proposals.h5")
    models: tuple[ModelPaths, ...] = (ModelPaths(),)

    def all_there(self) -> bool:
        """Whether detection could run: box regressors are optional."""
        needed = [self.proposals, *(path for model in self.models for path in (model.features, model.svm))]
        return all(path.exists() for path in needed)

    def to_json(self) -> dict[str, Any]:
        """Absolute paths, for `from_json`."""
        models = [[str(path.resolve()) for path in (item.features, item.svm, item.bbox)] for item in self.models]
        return {"proposals": str(self.proposals.resolve()), "models": models}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DetectPaths:
        return cls(Path(value["proposals"]), tuple(ModelPaths(*map(Path, item)) for item in value["models"]))


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


@kept_memory()
@announces_compiling
def run(
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    dataset: Path | None = None,
    device: str = "auto",
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
    models = read_models(paths.models, config.bbox, config.svd)
    with open_splits(paths.proposals, [item.features for item in paths.models], config.split, dataset) as splits:
        for (svm, bbox), data in zip(models, splits, strict=True):
            for model in (svm, bbox):
                if model is not None:
                    check_trunk(model, data.features)
        first = splits[0]
        inputs = {
            "proposals": first.proposals.fingerprint,
            **numbered("features", [data.features.fingerprint for data in splits]),
            **model_inputs(models),
            "images": digest_of([first.image_id(row) for row in first.rows]),
        }
        source = {**first.proposals.header.source, **({} if paths == DetectPaths() else {"inputs": paths.to_json()})}
        header = Header("detections", config.to_json(), inputs, source)
        classes, corrected = models[0].svm.classes, any(model.bbox for model in models)
        if output and not sink and not force and is_current(output, "detections", header.fingerprint):
            touch_if_older(
                output,
                [paths.proposals, *(path for item in paths.models for path in (item.features, item.svm, item.bbox))],
            )
            with open_artefact(output, "detections") as old:
                count = old.shape("scores")[0]
            return DetectSummary(output, len(first.rows), count, classes, corrected, up_to_date=True)
        if first.missing:
            progress.warn(
                f"{len(first.missing)} images of split {config.split} have no features: nothing is detected in them, "
                f"the first: {first.missing[0]}"
            )
        scorers = []
        for (svm, bbox), data in zip(models, splits, strict=True):
            if data.features.scales != tuple(svm.header.summary["scales"]):
                progress.warn(f"{svm.path} was trained at other scales than {data.features.path} holds")
            factors = SvdCache(svm.path, progress)
            heads = (
                _head(data, svm, config.svd, factors),
                _head(data, bbox, config.svd, factors) if bbox else None,
            )
            place = None
            if any(heads):
                # Brings torch, which pool5 does without.
                from sppcli.features.conv_maps import choose_device, gpu

                place = gpu(choose_device(device))
            scorers.append(Scorer(svm, bbox, data.features.scales, heads, place))
        detector = Detector(scorers, config.settings)
        found = []
        progress.start(len(first.rows), "images")
        for item in _over_features(splits, detector):
            if sink:
                sink(item, classes)
            found.append(item)
            progress.advance()
    if output:
        _write(output, header, found, classes)
    count = sum(len(item.detections.scores) for item in found)
    return DetectSummary(output, len(found), count, classes, corrected)


@kept_memory()
@announces_compiling
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
    from sppcli.detection.new_images import ImageReader
    from sppcli.features.conv_maps import choose_device
    from sppcli.images import decode, digest, read_bytes
    from sppcli.proposals.propose import SELECTIVE_SEARCH, ProposeConfig, propose_image
    from sppcli.proposals.selective_search.warm_up import prepare

    progress = progress or NoProgress()
    images = open_dataset(sources)
    models = read_models(paths.models, config.bbox, config.svd)
    propose = ProposeConfig(**same_proposals(models))
    if not propose.methods:
        raise UsageProblem(
            f"{models[0].svm.path} was trained on imported proposals, which new images do not have: import theirs with "
            "spp propose --import, then run spp extract and spp detect without naming images"
        )
    if propose.imports:
        progress.warn(
            f"{models[0].svm.path} was trained on proposals by {' and '.join(propose.methods)} and imported ones: new "
            "images get only the former"
        )
    place = choose_device(device)
    readers = [ImageReader(svm, bbox, place, weights, config.svd, SvdCache(svm.path, progress)) for svm, bbox in models]
    detector = Detector([reader.scorer() for reader in readers], config.settings)
    classes, corrected = models[0].svm.classes, any(model.bbox for model in models)
    found: list[Found] = []
    skipped: list[Skipped] = []
    digests: list[str] = []
    if SELECTIVE_SEARCH in propose.methods:
        prepare(propose.engine, jobs, progress)
    progress.start(len(images.images), "images")
    # On a CPU one process has work enough for it; beside a GPU the CPU searches the following images.
    apart = place.type != "cpu"
    for index, windows in _in_order(partial(propose_image, config=propose), images.images, jobs, apart):
        item = images.images[index]
        name = (
            item.path.relative_to(images.root).as_posix() if item.path.is_relative_to(images.root) else str(item.path)
        )
        try:
            if windows.problem:
                raise BadInput(windows.problem)
            data = read_bytes(item.path)
            pixels = decode(data, str(item.path))
            seen = [reader.read(pixels, windows.size, str(item.path)) for reader in readers]
        except SppError as error:
            if strict:
                raise
            progress.warn(f"skipped: {error}")
            skipped.append(Skipped(name, str(error)))
        else:
            one = Found(item.id, name, windows.size, detector.detect(seen, windows.boxes))
            if sink:
                sink(one, classes)
            found.append(one)
            digests.append(digest(data))
        progress.advance()
    if not found:
        raise BadInput(f"none of the {len(images.images)} images could be read; the first: {skipped[0].reason}")
    if output:
        header = Header(
            "detections",
            config.to_json(),
            {**model_inputs(models), "images": digest_of(digests)},
            source_json(images.kind, [str(path) for path in images.sources], str(images.root)),
        )
        _write(output, header, found, classes)
    count = sum(len(item.detections.scores) for item in found)
    return DetectSummary(output, len(found), count, classes, corrected, tuple(skipped))


def recorded(path: Path) -> tuple[DetectConfig, DetectPaths] | None:
    """The options and inputs that made a detections file; None if it was made of new images, not of features.h5."""
    with open_artefact(path, "detections") as artefact:
        if "features" not in artefact.header.inputs:
            return None
        config, source = artefact.header.config, artefact.header.source
    paths = DetectPaths.from_json(source["inputs"]) if "inputs" in source else DetectPaths()
    settings, svd = DetectSettings(**config["settings"]), tuple(config.get("svd", ()))
    return DetectConfig(settings, config["split"], config["bbox"], config["recipe"], svd), paths


def _head(data: SplitData, model: SvmModel | BoxModel, svd: tuple[int, ...], truncate: Truncate) -> FcHead | None:
    if data.features.rcnn or model.record.layer == "pool5":
        return None
    network = network_of_maps(data.features, model.header.source["head_weights"])
    return head_of_model(model, network, svd, truncate)


def _over_features(splits: Sequence[SplitData], detector: Detector) -> Iterator[Found]:
    first = splits[0]

    def load(i: int) -> Found:
        row = first.rows[i]
        maps = [data.maps(data.rows[i]) for data in splits]
        found = detector.detect(maps, first.windows(row))
        return Found(first.image_id(row), first.features.images.paths[row], maps[0].size, found)

    yield from prefetch(load, range(len(first.rows)), ahead=1)


def _in_order(
    function: Callable[[ImageItem], Windows], items: Sequence[ImageItem], jobs: int, apart: bool
) -> Iterator[tuple[int, Windows]]:
    """Results of `run_many` in the order of the items, so that the output does not depend on the processes."""
    held: dict[int, Windows] = {}
    wanted = 0
    for index, result in run_many(function, items, min(jobs, cpu_threads()), apart):
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
