"""From a video, a webcam or a stream to detections with frame numbers and times, and to an annotated video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sppcli.artefacts.overwriting import VIDEO, claim
from sppcli.detection.detecting import DetectConfig, Shown
from sppcli.detection.models import DetectPaths
from sppcli.errors import BadInput
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.structures import Boxes, FloatArray


@dataclass(frozen=True)
class FrameFound:
    """What was found in frame ``number`` (from 0), ``seconds`` after the first, best first; arrays as in
    `detector.DetectedObjects`."""

    source: str
    number: int
    seconds: float
    boxes: Boxes
    scores: FloatArray
    labels: tuple[str, ...]
    probabilities: FloatArray | None


class FrameSink(Protocol):
    """Takes what was found in each frame that was looked at."""

    def add(self, found: FrameFound) -> None: ...


@dataclass(frozen=True)
class VideoSummary:
    """``frames`` there were, ``looked_at`` of them, at ``per_second`` of them."""

    source: str
    output: Path | None
    frames: int
    looked_at: int
    detections: int


@kept_memory()
@announces_compiling
def run(
    source: str,
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: FrameSink | None = None,
    every: int = 1,
    most: int | None = None,
    weights: str | None = None,
    shown: Shown | None = None,
    options: RunOptions = USUAL,
) -> VideoSummary:
    """Detect in every ``every``-th frame of ``source``; boxes stay on the frames up to the next one looked at.

    Args:
        source: see `report.video.VideoSource`.
        output: the annotated video, with all frames of the source.
        sink: told of each frame that was looked at.
        most: frames after which to end, for webcams and streams that have no end.

    Raises:
        MissingInput, BadInput: no such source, or one without a frame; or as `detect_new.run`.
    """
    from sppcli.detection.loading import detector_of, warm_up
    from sppcli.report.annotate import Annotator
    from sppcli.report.video import VideoSource, VideoWriter

    if output:
        read = [path for path in (Path(source), paths.pack, paths.network) if path]
        claim(output, VIDEO, inputs=read, overwrite=options.overwrite)
    video = VideoSource(source)
    writer = VideoWriter(output, video.rate) if output else None
    frames = looked_at = detections = 0
    try:
        detector, _ = detector_of(paths, config, weights, shown or Shown(), options)
        warm_up(detector, options)
        annotator = Annotator(detector.classes)
        options.progress.start(min(video.count, most) if most and video.count else video.count, "frames")
        found = None
        for frame in video.frames():
            if most is not None and frames >= most:
                break
            frames += 1
            if frame.number % every == 0:
                found = detector.detect(frame.pixels)
                looked_at += 1
                detections += len(found.labels)
                if sink:
                    sink.add(FrameFound(source, frame.number, frame.seconds, *found, found.probabilities))
            if writer and found is not None:
                sure = found.scores if found.probabilities is None else found.probabilities
                writer.add(annotator.draw(frame.pixels, found.boxes, found.labels, sure))
            options.progress.advance()
        if not frames:
            raise BadInput(f"{source}: there is no frame in it; give another video")
        if writer:
            writer.end()
    finally:
        video.close()
        if writer:
            writer.discard()
    return VideoSummary(source, output, frames, looked_at, detections)
