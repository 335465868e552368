"""Applies svm.h5 (and bbox.h5) to features.h5, or to new images, which gives detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from sppcli.artefacts.calibration import CalibrationFile
from sppcli.artefacts.detections import DetectionsFile, read_detections, write_detections
from sppcli.artefacts.models import check_trunk
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import COCO, JSONL, claim
from sppcli.artefacts.proposals import source_json
from sppcli.artefacts.store import Header, digest_of, open_artefact
from sppcli.datasets import ALL, Dataset, open_dataset
from sppcli.detection.calibrated import calibration_folder, calibration_of_models
from sppcli.detection.models import DetectPaths, Model, model_inputs, numbered, read_models
from sppcli.detection.over_features import over_features, union_scorer
from sppcli.detection.per_image import name_in, none_left
from sppcli.detection.scoring import DetectSettings
from sppcli.detection.split import SplitData, open_images, open_splits
from sppcli.errors import SppError, UsageProblem
from sppcli.paper import DEFAULT
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.counts import count_of
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.structures import Detections, Found, Skipped

if TYPE_CHECKING:
    from sppcli.detection.detector import Detector


class Sink(Protocol):
    """Takes detections as they are found: see `datasets.results.writers.ResultWriter`."""

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None: ...

    def add(self, found: Found) -> None: ...


@dataclass(frozen=True, kw_only=True)
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
class ResultsFile:
    """What a `Sink` writes, and its ``format``: jsonl, coco or voc."""

    path: Path
    format: str


_KINDS = {"coco": COCO, "jsonl": JSONL}


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


@one_at_a_time
@kept_memory()
@announces_compiling
def run(
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    results: ResultsFile | None = None,
    dataset: Path | None = None,
    known: DetectionsFile | None = None,
    options: RunOptions = USUAL,
) -> DetectSummary:
    """Detect in the images of a split, from the conv maps of features.h5.

    Args:
        output: detections.h5 to write; its header records ``config``, so that it can be made again.
        sink: told of each image's detections as they are found.
        results: the file that ``sink`` writes, if it writes one.
        known: what ``output`` holds, if it has been read.

    Raises:
        MissingInput: an input is not there; says which command makes it.
        StaleArtefact: features of other proposals, or models of another network.
    """
    progress = options.progress
    if paths.network:
        return _run_network(paths.network, paths, config, output, sink, results, dataset, known, options)
    models = read_models(paths.models, config.bbox, config.svd)
    with open_splits(paths.proposals, [item.features for item in paths.models], config.split, dataset) as splits:
        header = _header(paths, config, models, splits)
        if known is None:  # What was read as detections is what this stage makes.
            _claim(output, results, splits[0].dataset, paths.files(), options)
        first, classes, corrected = splits[0], models[0].svm.classes, any(pair.bbox for pair in models)
        there = known.header if known else None
        if output and not sink and Output(output, header, paths.files()).is_current(options.force, there):
            return DetectSummary(output, len(first.images), _count(output, known), classes, corrected, up_to_date=True)
        if first.missing:
            progress.warn(
                f"split {config.split}: {count_of(len(first.missing), 'image has', 'images have')} no features, "
                f"so nothing is detected there, the first: {first.missing[0]}"
            )
        score = union_scorer(models, splits, config.settings, options, config.svd)
        if sink:
            sink.begin(first.dataset, config.split, classes)
        found = []
        progress.start(len(first.images), "images")
        for item in over_features(splits, score):
            if sink:
                sink.add(item)
            found.append(item)
            progress.advance()
    if output:
        _write(output, header, found, classes)
    return _summary(output, found, classes, corrected)


@kept_memory()
@announces_compiling
def run_on_images(
    sources: Sequence[Path],
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    results: ResultsFile | None = None,
    weights: str | None = None,
    calibration: Path | Literal[False] | None = None,
    thresholds: bool = True,
    options: RunOptions = USUAL,
) -> DetectSummary:
    """Propose, extract and score new images in one go, with the settings that the SVMs were trained with.

    Args:
        calibration: the file of `spp calibrate`; None: calibration.h5 beside the models if it is there; False: none.
        thresholds: what the calibration says counts as an object, in place of ``config.settings.min_score``.

    Raises:
        MissingInput, BadInput: no models, no images, or none that can be read; with ``strict``, the first that cannot.
        StaleArtefact: weights whose trunk is not the one the SVMs were trained on.
    """
    from sppcli.detection.over_images import over_images
    from sppcli.proposals.propose import SELECTIVE_SEARCH
    from sppcli.proposals.selective_search.warm_up import prepare

    progress = options.progress
    images = open_dataset(sources)
    read = [paths.network] if paths.network else [path for item in paths.models for path in (item.svm, item.bbox)]
    _claim(output, results, images, [*read, *([Path(weights)] if weights else [])], options)
    detector, inputs = _detector(paths, config, weights, calibration, thresholds, options)
    if sink:
        sink.begin(images, ALL, detector.classes)
    found: list[Found] = []
    skipped: list[Skipped] = []
    digests: list[str] = []
    if SELECTIVE_SEARCH in detector.proposing.methods:
        prepare(detector.proposing.engine, options.jobs, progress)
    progress.start(len(images.images), "images")
    for item, result in over_images(images, detector, options.jobs):
        if isinstance(result, SppError):
            if options.strict:
                raise result
            progress.warn(f"skipped: {result}")
            skipped.append(Skipped(name_in(images.root, item.path), str(result)))
        else:
            one, digest = result
            if sink:
                sink.add(one)
            found.append(one)
            digests.append(digest)
        progress.advance()
    if not found:
        raise none_left(len(images.images), "could be read", skipped[0].reason)
    if output:
        header = Header(
            "detections",
            config.to_json(),
            {**inputs, "images": digest_of(digests)},
            source_json(images.kind, [str(path) for path in images.sources], str(images.root)),
        )
        _write(output, header, found, detector.classes)
    return _summary(output, found, detector.classes, detector.corrects, skipped)


def _detector(
    paths: DetectPaths,
    config: DetectConfig,
    weights: str | None,
    calibration: Path | Literal[False] | None,
    thresholds: bool,
    options: RunOptions,
) -> tuple[Detector, dict[str, str]]:
    """The detector of new images, and the fingerprints of what it was loaded from."""
    from sppcli.detection.detector import Detector, NetworkDetector

    progress = options.progress
    if paths.network:
        network = NetworkDetector(paths.network, config.settings, device=options.device, progress=progress)
        inputs = {"network": network.fingerprint}
        known = _calibration(paths, inputs, calibration, thresholds, config, options)
        return network.calibrated(known, thresholds=thresholds).prepare(), inputs | _fingerprint(known)
    models = read_models(paths.models, config.bbox, config.svd)
    inputs = model_inputs(models)
    known = _calibration(paths, inputs, calibration, thresholds, config, options)
    settings = replace(config.settings, min_score=known.min_score) if known and thresholds else config.settings
    detector = Detector(
        models,
        settings,
        weights=weights,
        device=options.device,
        svd=config.svd,
        calibration=known.calibration if known else None,
        thresholds=thresholds,
        progress=progress,
    )
    return detector, inputs | _fingerprint(known)


def _calibration(
    paths: DetectPaths,
    inputs: Mapping[str, str],
    given: Path | Literal[False] | None,
    thresholds: bool,
    config: DetectConfig,
    options: RunOptions,
) -> CalibrationFile | None:
    """The calibration of new images, and a line that says what counts as an object."""
    folder = calibration_folder(paths)
    known = None if given is False else calibration_of_models(inputs, folder, given or None, options.progress)
    if known and thresholds:
        options.progress.say(f"{known.path}: probabilities, and the threshold of each class for {known.aim}")
    elif thresholds and given is None:
        options.progress.say(
            f"objects are what scores above {config.settings.min_score:g}; spp calibrate finds the best threshold of "
            "each class, and probabilities"
        )
    return known


def _fingerprint(known: CalibrationFile | None) -> dict[str, str]:
    return {"calibration": known.header.fingerprint} if known else {}


def _run_network(
    network: Path,
    paths: DetectPaths,
    config: DetectConfig,
    output: Path | None,
    sink: Sink | None,
    results: ResultsFile | None,
    dataset: Path | None,
    known: DetectionsFile | None,
    options: RunOptions,
) -> DetectSummary:
    """As `run`, with a network of `spp train-detector` in place of SVMs: from the images and proposals.h5 alone."""
    from sppcli.detection.detector import NetworkDetector
    from sppcli.detection.network_scoring import found_in

    detector = NetworkDetector(network, config.settings, device=options.device, progress=options.progress)
    data, classes = open_images(paths.proposals, config.split, dataset), detector.classes
    _claim(output, results, data.dataset, paths.files(), options)
    inputs = {
        "proposals": data.proposals.fingerprint,
        "network": detector.fingerprint,
        "images": digest_of([data.image_id(image) for image in data.images]),
    }
    header = Header("detections", config.to_json(), inputs, {**data.proposals.header.source, "inputs": paths.to_json()})
    there = known.header if known else None
    if output and not sink and Output(output, header, paths.files()).is_current(options.force, there):
        return DetectSummary(output, len(data.images), _count(output, known), classes, True, up_to_date=True)
    if data.missing:
        options.progress.warn(
            f"split {config.split}: {count_of(len(data.missing), 'image has', 'images have')} no region proposals, so "
            f"nothing is detected there, the first: {data.missing[0]}"
        )
    if sink:
        sink.begin(data.dataset, config.split, classes)
    options.progress.start(len(data.images), "images")
    found = found_in(data, detector.scorer, options.progress)
    if sink:
        for item in found:
            sink.add(item)
    if output:
        _write(output, header, found, classes)
    return _summary(output, found, classes, True)


def ensure(
    path: Path, split: str, *, dataset: Path | None = None, options: RunOptions = USUAL
) -> tuple[DetectionsFile, DetectSummary | None]:
    """What the detections file ``path`` holds, made first if it is not there, or again if its inputs have changed, by
    its own options; and the summary of that run, None where there was nothing to do.

    Detections of new images, or with nothing there to make them from, are taken as they are.
    """
    known = read_detections(path) if path.exists() else None
    made = recorded(known.header) if known else (DetectConfig(split=split), DetectPaths())
    if known and (made is None or not made[1].all_there()):
        return known, None
    assert made is not None
    config, paths = made
    summary = run(paths, config, output=path, dataset=dataset, known=known, options=options)
    return (known, None) if known and summary.up_to_date else (read_detections(path), summary)


def recorded(header: Header) -> tuple[DetectConfig, DetectPaths] | None:
    """The options and inputs that made a detections file; None if it was made of new images, not of a split."""
    if "proposals" not in header.inputs:
        return None
    config, source = header.config, header.source
    paths = DetectPaths.from_json(source["inputs"]) if "inputs" in source else DetectPaths()
    settings, svd = DetectSettings(**config["settings"]), tuple(config.get("svd", ()))
    made = {name: config[name] for name in ("split", "bbox", "recipe")}
    return DetectConfig(settings=settings, svd=svd, **made), paths


def _header(paths: DetectPaths, config: DetectConfig, models: Sequence[Model], splits: Sequence[SplitData]) -> Header:
    """What makes the detections; models and features must belong together."""
    for pair, data in zip(models, splits, strict=True):
        for model in pair:
            if model is not None:
                check_trunk(model, data.features)
    first = splits[0]
    inputs = {
        "proposals": first.proposals.fingerprint,
        **numbered("features", [data.features.fingerprint for data in splits]),
        **model_inputs(models),
        "images": digest_of([first.image_id(image) for image in first.images]),
    }
    source = {**first.proposals.header.source, **({} if paths == DetectPaths() else {"inputs": paths.to_json()})}
    return Header("detections", config.to_json(), inputs, source)


def _count(output: Path, known: DetectionsFile | None) -> int:
    if known:
        return len(known.detections.scores)
    with open_artefact(output, "detections") as old:
        return old.shape("scores")[0]


def _claim(
    output: Path | None, results: ResultsFile | None, dataset: Dataset, inputs: Sequence[Path], options: RunOptions
) -> None:
    """See `claim`; VOC's results are a folder."""
    if results and results.format == "voc":
        if results.path.exists() and not results.path.is_dir():
            raise UsageProblem(f"-o {results.path} is a file; --format voc writes a folder of files, so name a folder")
        return
    targets = [(output, "detections"), (results.path, _KINDS[results.format])] if results else [(output, "detections")]
    for path, kind in targets:
        if path:
            claim(path, kind, inputs=inputs, data=dataset, overwrite=options.overwrite)


def _write(output: Path, header: Header, found: Sequence[Found], classes: tuple[str, ...]) -> None:
    sizes = np.array([item.size for item in found], dtype=np.int64).reshape(-1, 2)
    detections = Detections.of_images(found, classes)
    write_detections(output, header, detections, tuple(item.path for item in found), sizes)


def _summary(
    output: Path | None,
    found: Sequence[Found],
    classes: tuple[str, ...],
    corrected: bool,
    skipped: Sequence[Skipped] = (),
) -> DetectSummary:
    count = sum(len(item.detections.scores) for item in found)
    return DetectSummary(output, len(found), count, classes, corrected, tuple(skipped))
