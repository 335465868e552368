"""From new images to detections in one go: region proposals, conv maps and scores as in the training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from sppcli.artefacts.calibration import CalibrationFile
from sppcli.artefacts.proposals import source_json
from sppcli.artefacts.store import Header, digest_of
from sppcli.datasets import ALL, open_dataset
from sppcli.detection.calibrated import calibration_folder, calibration_of_models
from sppcli.detection.detecting import (
    DetectConfig,
    DetectSummary,
    ResultsFile,
    Sink,
    claim_outputs,
    summary_of,
    write_found,
)
from sppcli.detection.models import DetectPaths, model_inputs, read_models
from sppcli.detection.per_image import name_in, none_left
from sppcli.errors import MissingInput, SppError
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.structures import Found, Skipped

if TYPE_CHECKING:
    from sppcli.detection.detector import Detector


@dataclass(frozen=True)
class Shown:
    """What counts as an object in a new image.

    ``calibration``: the file of `spp calibrate`; None: calibration.h5 beside the models if it is there; False: none.
    ``thresholds``: whether those of the calibration decide, where there is one, in place of the least score asked for.
    """

    calibration: Path | Literal[False] | None = None
    thresholds: bool = True


@kept_memory()
@announces_compiling
def run(
    sources: Sequence[Path],
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    results: ResultsFile | None = None,
    weights: str | None = None,
    shown: Shown | None = None,
    options: RunOptions = USUAL,
) -> DetectSummary:
    """Propose, extract and score new images in one go, with the settings that the SVMs were trained with.

    Args:
        shown: what counts as an object.

    Raises:
        MissingInput, BadInput: no models, no images, or none that can be read; with ``strict``, the first that cannot.
        StaleArtefact: weights whose trunk is not the one the SVMs were trained on.
    """
    from sppcli.detection.over_images import over_images

    progress = options.progress
    images = open_dataset(sources)
    alone = paths.pack or paths.network
    read = [alone] if alone else [path for item in paths.models for path in (item.svm, item.bbox)]
    claim_outputs(output, results, images, [*read, *([Path(weights)] if weights else [])], options)
    detector, inputs = _detector(paths, config, weights, shown or Shown(), options)
    if sink:
        sink.begin(images, ALL, detector.classes)
    found: list[Found] = []
    skipped: list[Skipped] = []
    digests: list[str] = []
    _warm_up(detector, options)
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
        write_found(output, header, found, detector.classes)
    return summary_of(output, found, detector.classes, detector.corrects, skipped)


class LineSink(Protocol):
    """Takes detections as they are found, of images that nobody knows beforehand."""

    def begin_stream(self, classes: tuple[str, ...]) -> None: ...

    def add(self, found: Found) -> None: ...


@kept_memory()
@announces_compiling
def run_on_stream(
    images: Iterator[Path],
    paths: DetectPaths,
    config: DetectConfig,
    sink: LineSink,
    *,
    weights: str | None = None,
    shown: Shown | None = None,
    options: RunOptions = USUAL,
) -> DetectSummary:
    """As `run`, of paths that come one by one: each is done as it comes, with everything loaded.

    Raises:
        MissingInput: as `run`, or no path came.
        BadInput: none of the images could be read; with ``strict``, the first that cannot.
    """
    from sppcli.detection.over_images import over_stream

    detector, _ = _detector(paths, config, weights, shown or Shown(), options)
    sink.begin_stream(detector.classes)
    _warm_up(detector, options)
    images_done = detections = 0
    skipped: list[Skipped] = []
    options.progress.start(0, "images")
    for item, result in over_stream(images, detector, options.jobs):
        if isinstance(result, SppError):
            if options.strict:
                raise result
            options.progress.warn(f"skipped: {result}")
            skipped.append(Skipped(str(item.path), str(result)))
        else:
            sink.add(result[0])
            images_done += 1
            detections += len(result[0].detections.scores)
        options.progress.advance()
    if not images_done and skipped:
        raise none_left(len(skipped), "could be read", skipped[0].reason)
    if not images_done:
        raise MissingInput("no paths on standard input: give one image path per line")
    return DetectSummary(None, images_done, detections, detector.classes, detector.corrects, tuple(skipped))


def _warm_up(detector: Detector, options: RunOptions) -> None:
    """Compile what the search for region proposals needs, before the first image."""
    from sppcli.proposals.propose import SELECTIVE_SEARCH
    from sppcli.proposals.selective_search.warm_up import prepare

    if SELECTIVE_SEARCH in detector.proposing.methods:
        prepare(detector.proposing.engine, options.jobs, options.progress)


def _detector(
    paths: DetectPaths,
    config: DetectConfig,
    weights: str | None,
    shown: Shown,
    options: RunOptions,
) -> tuple[Detector, dict[str, str]]:
    """The detector of new images, and the fingerprints of what it was loaded from."""
    from sppcli.detection.detector import Detector, NetworkDetector
    from sppcli.detection.packing import load_pack

    progress = options.progress
    if paths.pack:
        packed = load_pack(paths.pack)
        known = packed.calibration if shown.calibration is None else None
        _say_what_counts(known, shown, config, options)
        return Detector.of_pack(
            packed,
            config.settings,
            device=options.device,
            calibrated=shown.calibration is None,
            thresholds=shown.thresholds,
            svd=config.svd,
            progress=progress,
        ), {"detector": packed.fingerprint} | _fingerprint(known)
    if paths.network:
        network = NetworkDetector(paths.network, config.settings, device=options.device, progress=progress)
        inputs = {"network": network.fingerprint}
        known = _calibration(paths, inputs, shown, config, options)
        return network.calibrated(known, thresholds=shown.thresholds).prepare(), inputs | _fingerprint(known)
    models = read_models(paths.models, config.bbox, config.svd)
    inputs = model_inputs(models)
    known = _calibration(paths, inputs, shown, config, options)
    settings = replace(config.settings, min_score=known.min_score) if known and shown.thresholds else config.settings
    detector = Detector(
        models,
        settings,
        weights=weights,
        device=options.device,
        svd=config.svd,
        calibration=known.calibration if known else None,
        thresholds=shown.thresholds,
        progress=progress,
    )
    return detector, inputs | _fingerprint(known)


def _calibration(
    paths: DetectPaths,
    inputs: Mapping[str, str],
    shown: Shown,
    config: DetectConfig,
    options: RunOptions,
) -> CalibrationFile | None:
    """The calibration of new images, and a line that says what counts as an object."""
    folder = calibration_folder(paths)
    given = shown.calibration
    known = None if given is False else calibration_of_models(inputs, folder, given, options.progress)
    _say_what_counts(known, shown, config, options)
    return known


def _say_what_counts(
    known: CalibrationFile | None,
    shown: Shown,
    config: DetectConfig,
    options: RunOptions,
) -> None:
    if known and shown.thresholds:
        options.progress.say(f"{known.path}: probabilities, and the threshold of each class for {known.aim}")
    elif shown.thresholds and shown.calibration is None:
        options.progress.say(
            f"objects are what scores above {config.settings.min_score:g}; spp calibrate finds the best threshold of "
            "each class, and probabilities"
        )


def _fingerprint(known: CalibrationFile | None) -> dict[str, str]:
    return {"calibration": known.header.fingerprint} if known else {}
