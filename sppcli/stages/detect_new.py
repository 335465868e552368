"""From new images to detections in one go: region proposals, conv maps and scores as in the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sppcli.artefacts.proposals import source_json
from sppcli.artefacts.store import Header, digest_of
from sppcli.datasets import ALL, open_dataset
from sppcli.detection.detecting import (
    DetectConfig,
    DetectSummary,
    ResultsFile,
    Shown,
    Sink,
    claim_outputs,
    summary_of,
    write_found,
)
from sppcli.detection.models import DetectPaths
from sppcli.detection.per_image import name_in, none_left
from sppcli.errors import MissingInput, SppError
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.structures import Found, Skipped

if TYPE_CHECKING:
    pass


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
    from sppcli.detection.loading import detector_of, warm_up
    from sppcli.detection.over_images import over_images

    progress = options.progress
    images = open_dataset(sources)
    alone = paths.pack or paths.network
    read = [alone] if alone else [path for item in paths.models for path in (item.svm, item.bbox)]
    claim_outputs(output, results, images, [*read, *([Path(weights)] if weights else [])], options)
    detector, inputs = detector_of(paths, config, weights, shown or Shown(), options)
    if sink:
        sink.begin(images, ALL, detector.classes)
    found: list[Found] = []
    skipped: list[Skipped] = []
    digests: list[str] = []
    warm_up(detector, options)
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
    from sppcli.detection.loading import detector_of, warm_up
    from sppcli.detection.over_images import over_stream

    detector, _ = detector_of(paths, config, weights, shown or Shown(), options)
    sink.begin_stream(detector.classes)
    warm_up(detector, options)
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
