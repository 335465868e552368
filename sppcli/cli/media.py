"""What ``spp detect`` reads besides images of a data set, and where it writes: videos, watched folders, pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.detection.detecting import DetectConfig, DetectSummary, Shown
    from sppcli.detection.models import DetectPaths
    from sppcli.runtime.options import RunOptions
    from sppcli.stages.detect_video import VideoSummary

FORMATS = ("h5", "jsonl", "csv", "coco", "voc", "yolo", "pictures")
SUFFIXES = {
    **{".h5": "h5", ".hdf5": "h5", ".jsonl": "jsonl", ".json": "coco", ".csv": "csv", ".png": "pictures"},
    **dict.fromkeys((".mp4", ".avi"), "video"),
}
_VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
_TEXT = ("jsonl", "coco", "csv")


def on_line(name: str) -> bool:
    """Whether the parameter ``name`` was given on the command line, rather than by a file or the environment."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


@dataclass(frozen=True)
class Media:
    """Where new images come from: ``images``, or a ``video`` of which every ``every``-th frame is looked at up to
    ``most``, or the folder ``watch``."""

    images: tuple[Path, ...]
    video: str | None
    every: int
    most: int | None
    watch: Path | None

    @classmethod
    def of(cls, images: tuple[Path, ...], video: str | None, every: int, most: int | None, watch: Path | None) -> Media:
        """Take a single IMAGE that is a video by its name as the video; a source that no flag names is none.

        Raises:
            UsageError: sources that exclude each other, or options of videos without one.
        """
        films = [path for path in images if path.suffix.lower() in _VIDEOS]
        if films and len(images) > 1:
            raise click.UsageError(f"{films[0]} is a video: give one video at a time, without other IMAGEs.")
        # What is looked at is said with the command: a file of options would change what spp detect is for.
        video = video if on_line("video") else None
        watch = watch if on_line("watch") else None
        if sum((bool(images), video is not None, watch is not None)) > 1:
            raise click.UsageError("IMAGEs, --video and --watch exclude each other.")
        if films:
            images, video = (), str(films[0])
        if video is None and (on_line("every") or on_line("frames")):
            raise click.UsageError("--every and --frames are for videos: give one, or --video.")
        return cls(images, video, every, most, watch)

    def __bool__(self) -> bool:
        return bool(self.images or self.video is not None or self.watch is not None)


@dataclass(frozen=True)
class Place:
    """Where detections go: ``kind`` is a format or "video"; ``path`` None for standard output."""

    kind: str
    path: Path | None
    is_folder: bool = False

    @classmethod
    def of(cls, kind: str | None, output: str | None, media: Media) -> Place:
        """The format and place that ``--format`` and ``-o`` name.

        Raises:
            UsageError: a format that cannot be told, or that the source or the place cannot have.
        """
        path = Path(output) if output else None
        is_folder = path is not None and (str(output).endswith("/") or (path.is_dir() and path.suffix not in SUFFIXES))
        if kind is None and path is not None and output != "-":
            suffix = path.suffix.lower()
            if not is_folder and suffix not in SUFFIXES:
                raise click.UsageError(f"-o {output}: say which --format: {', '.join(FORMATS)}.")
            kind = "pictures" if is_folder else SUFFIXES[suffix]
        kind = kind or ("jsonl" if media or output == "-" else "h5")
        if media.video is not None and kind not in ("video", "jsonl", "csv"):
            raise click.UsageError(f"a video's detections go to .jsonl, .csv or an .mp4 or .avi, not to {kind}.")
        if kind == "video" and media.video is None:
            raise click.UsageError(f"-o {output}: only the detections of a video go into a video.")
        if media.watch and kind not in ("jsonl", "csv", "pictures"):
            raise click.UsageError(f"of a watched folder detections go to jsonl, csv or pictures, not to {kind}.")
        if output == "-":
            if kind not in _TEXT:
                raise click.UsageError(f"--format {kind} cannot go to standard output; give -o a name.")
            return cls(kind, None)
        if path is None:
            named = {"h5": "detections.h5", "voc": "results", "yolo": "labels", "pictures": "annotated"}.get(kind)
            path, is_folder = Path(named) if named else None, kind == "pictures"
        return cls(kind, path, is_folder)

    def sink(self, split: str, overwrite: bool) -> AbstractContextManager[Any]:
        """What takes detections as they are found; None for a detections.h5 and a video."""
        from sppcli.datasets.results.writers import result_writer

        if self.kind in ("h5", "video"):
            return nullcontext()
        if self.kind == "pictures":
            from sppcli.report.annotate import PictureWriter

            assert self.path is not None
            return nullcontext(PictureWriter(self.path, self.is_folder, overwrite))
        return result_writer(self.kind, self.path, split, sys.stdout)


def detect_media(
    media: Media,
    place: Place,
    paths: DetectPaths,
    config: DetectConfig,
    weights: str | None,
    shown: Shown,
    run: RunOptions,
) -> DetectSummary | VideoSummary:
    """Detect in new images, a video or a folder that fills."""
    from sppcli.cli.commands.propose import expand, lines_of
    from sppcli.detection.detecting import ResultsFile
    from sppcli.stages import detect_new, detect_video

    if media.video is not None:
        with ExitStack() as stack:
            lines = None if place.kind == "video" else stack.enter_context(_frame_lines(place))
            return detect_video.run(
                media.video,
                paths,
                config,
                output=place.path if place.kind == "video" else None,
                sink=lines,
                every=media.every,
                most=media.most,
                weights=weights,
                shown=shown,
                options=run,
            )
    with place.sink(config.split, run.overwrite) as sink:
        streamed = list(map(str, media.images)) == ["-"] and place.path is None and place.kind != "coco"
        if media.watch is not None or streamed:
            from sppcli.detection.watching import images_of

            arriving = images_of(media.watch, run.progress) if media.watch is not None else lines_of(sys.stdin)
            return detect_new.run_on_stream(arriving, paths, config, sink, weights=weights, shown=shown, options=run)
        file = place.path is not None and place.kind != "h5"
        return detect_new.run(
            expand(media.images),
            paths,
            config,
            output=place.path if place.kind == "h5" else None,
            sink=sink,
            results=ResultsFile(place.path, place.kind) if file and place.path else None,
            weights=weights,
            shown=shown,
            options=run,
        )


@contextmanager
def _frame_lines(place: Place) -> Iterator[Any]:
    from sppcli.cli.frames import FrameLines
    from sppcli.runtime.files import replacing

    if place.path is None:
        yield FrameLines(sys.stdout, place.kind == "csv")
        return
    with replacing(place.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield FrameLines(stream, place.kind == "csv")


def say(summary: DetectSummary | VideoSummary, output: Path | None, as_json: bool) -> None:
    """Print the summary of what was detected; nothing where the detections went to standard output."""
    from sppcli.cli import console
    from sppcli.stages.detect_video import VideoSummary

    if as_json:
        console.print_json(asdict(summary))
    elif output is None:
        return
    elif isinstance(summary, VideoSummary):
        console.echo(
            f"{output}: {count_of(summary.detections, 'detection')} in {count_of(summary.looked_at, 'frame')} of "
            f"{summary.frames}"
        )
    else:
        state = " (up to date)" if summary.up_to_date else ""
        corrected = "boxes corrected" if summary.corrected else "boxes as proposed"
        skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
        console.echo(
            f"{output}: {count_of(summary.detections, 'detection')} of "
            f"{count_of(len(summary.classes), 'class', 'classes')} in {count_of(summary.images, 'image')}, "
            f"{corrected}{skipped}{state}"
        )
