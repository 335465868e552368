"""``spp evaluate``: average precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sppcli.cli import helpful, options
from sppcli.cli.media import on_line
from sppcli.cli.types import Fraction, PathOrUrl
from sppcli.evaluation.registry import PROTOCOLS
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.artefacts.detections import DetectionsFile
    from sppcli.evaluation.operating_point import AtThreshold
    from sppcli.evaluation.voc_ap import Points
    from sppcli.stages.evaluate import CocoSummary, EvaluateSummary, IlsvrcSummary

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", "EvaluateSummary", "CocoSummary", "IlsvrcSummary")
Noted = tuple[str, float, float | None, Mapping[str, float | None]]
"""Protocol, IoU, mean AP and AP of each class."""


def _protocols(function: F) -> F:
    """A flag for each evaluation protocol; the first is the default."""
    for name, entry in reversed(PROTOCOLS.items()):
        first: dict[str, Any] = {"default": name} if name == next(iter(PROTOCOLS)) else {}
        function = click.option(f"--{name}", "protocol", flag_value=name, help=entry.text, **first)(function)
    return function


@helpful.command("evaluate")
@click.argument("dataset", required=False, metavar="[DATASET]", type=options.FilePath)
@_protocols
@click.option(
    "--localization",
    type=options.FilePath,
    metavar="FILE",
    help=(
        "Report ILSVRC's top-5 localisation error of this CSV file instead. Its columns are "
        "ImageId,PredictionString, with up to five localisations for each image."
    ),
)
@click.option(
    "--detections",
    type=PathOrUrl("update"),
    default="detections.h5",
    metavar="FILE",
    help=("The detections made by spp detect, which runs first if the file does not exist or its inputs have changed."),
)
@click.option(
    "--results",
    type=options.FilePath,
    metavar="FOLDER|FILE",
    help=(
        "Evaluate these VOC result files (comp4_det_SPLIT_CLASS.txt), or with --coco this JSON file, "
        "against DATASET instead."
    ),
)
@click.option(
    "--proposals",
    type=options.FilePath,
    is_flag=False,
    flag_value=Path("proposals.h5"),
    multiple=True,
    metavar="[FILE]",
    help=(
        "Report the recall of the region proposals in FILE (proposals.h5) instead. Given several times, "
        "the files are compared."
    ),
)
@click.option(
    "--plot",
    type=options.OutputPath,
    metavar="FILE.png",
    help="Draw the recall curves of --proposals into this picture.",
)
@click.option(
    "--calibration",
    type=options.FilePath,
    metavar="FILE",
    show_default="calibration.h5 of the detector, if it is there",
    help=(
        "Thresholds made by spp calibrate: precision, recall and F1 are those of the detections above them, with "
        "--coco and --ilsvrc at IoU 0.5."
    ),
)
@options.overwrite
@options.split("test")
@click.option(
    "--iou",
    type=Fraction(0.5),
    default=0.5,
    help="A detection is a true positive if its IoU with an object is at least this.",
)
@click.option(
    "--recall-points",
    "points",
    type=click.Choice(["exact", "matlab", "octave"]),
    default="exact",
    help=(
        "Recall points of 11-point AP: exact tenths, or 0:0.1:1 in the devkit's floating-point numbers "
        "under MATLAB or Octave."
    ),
)
@options.run_log
@options.as_json
@options.verbosity
def command(
    dataset: Path | None,
    protocol: str,
    localization: Path | None,
    detections: Path,
    results: Path | None,
    proposals: tuple[Path, ...],
    plot: Path | None,
    calibration: Path | None,
    overwrite: bool,
    split: str,
    iou: float,
    points: Points,
    log: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compute the average precision of each class, and mAP.

    The rules are those of the PASCAL VOC devkit, of COCO or of ILSVRC. DATASET is needed only with --results, or if the
    images have moved since spp propose.

    With --proposals, the recall of region proposals is reported: the share of the objects whose IoU with one of the
    first N proposals of their image is at least 0.5 to 0.9, and average recall (AR), which is twice the area
    under recall from IoU 0.5 to 1.
    """
    if calibration and (results or proposals or localization) and on_line("calibration"):
        raise click.UsageError("--calibration goes with --detections only.")
    if results and not dataset:
        raise click.UsageError("--results needs the DATASET to score against: spp evaluate DATASET --results FOLDER.")
    logs = _logs(log, bool(results or proposals or localization))
    scored = _Scored(detections, results, dataset, calibration, split, logs)
    if proposals:
        _recall(proposals, results, dataset, split, plot, overwrite, as_json)
    elif plot:
        raise click.UsageError("--plot draws the recall of proposals: give --proposals too.")
    elif localization:
        _localisation(localization, dataset, split, as_json)
    elif protocol == "coco":
        _coco(scored, as_json)
    elif protocol == "ilsvrc":
        _ilsvrc(scored, as_json)
    else:
        _voc(scored, protocol, iou, points, as_json)


@dataclass(frozen=True)
class _Scored:
    """What is scored, against what, and where that is noted: options of the command."""

    detections: Path
    results: Path | None
    dataset: Path | None
    calibration: Path | None
    split: str
    logs: Logs

    def by(
        self,
        of_detections: Callable[..., S],
        of_results: Callable[..., S] | None,
        show: Callable[[S], None],
        figures: Callable[[S], Noted],
    ) -> None:
        """Score by a protocol, ``show`` the summary, and note its ``figures`` if the detections are spp's own."""
        from sppcli.cli import console
        from sppcli.runtime.options import RunOptions

        started, stored = time.monotonic(), None
        with console.progress("evaluate") as progress:
            run = RunOptions(progress=progress)
            if of_results and self.results and self.dataset:
                summary = of_results(self.dataset, self.results, options=run)
            else:
                stored = _stored(self.detections, self.split, self.dataset)
                summary = of_detections(stored, dataset=self.dataset, calibration=self.calibration, options=run)
        show(summary)
        if stored:
            seconds = time.monotonic() - started
            _log(self.logs, stored, self.split, summary.images, figures(summary), seconds, summary.at_threshold)


def _voc(scored: _Scored, protocol: str, iou: float, points: Points, as_json: bool) -> None:
    from sppcli.cli import console, scores
    from sppcli.stages import evaluate

    def show(summary: EvaluateSummary) -> None:
        if as_json:
            console.print_json(scores.voc_json(summary))
        else:
            scores.print_voc(summary)

    config = evaluate.EvaluateConfig(protocol=protocol, split=scored.split, iou=iou, points=points)
    scored.by(
        partial(evaluate.run, config=config),
        partial(evaluate.run_on_results, config=config),
        show,
        lambda summary: (protocol, iou, summary.result.mAP, summary.result.ap),
    )


def _coco(scored: _Scored, as_json: bool) -> None:
    from sppcli.cli import scores
    from sppcli.stages import evaluate

    scored.by(
        partial(evaluate.run_coco, split=scored.split),
        partial(evaluate.run_coco_on_results, split=scored.split),
        lambda summary: scores.print_coco(summary, as_json),
        lambda summary: ("coco", 0.5, summary.result.stats["AP"], summary.result.ap),
    )


def _ilsvrc(scored: _Scored, as_json: bool) -> None:
    from sppcli.cli import scores
    from sppcli.stages import evaluate

    if scored.results:
        raise click.UsageError("--ilsvrc scores --detections; --results are scored with --voc2007, --voc2010, --coco.")
    scored.by(
        partial(evaluate.run_ilsvrc, split=scored.split),
        None,
        lambda summary: scores.print_ilsvrc(summary, as_json),
        lambda summary: ("ilsvrc", 0.5, summary.result.mAP, summary.result.ap),
    )


@dataclass(frozen=True)
class Logs:
    """Where an evaluation is noted: the log of runs ``path``, None for none, and ``trackers``."""

    path: Path | None
    trackers: tuple[str, ...]


def _logs(given: tuple[str, ...], of_others: bool) -> Logs:
    """What ``--log`` says; evaluations ``of_others``' files, or of proposals, are noted nowhere."""
    from sppcli.runtime.trackers import TRACKERS
    from sppcli.stages.run_log import log_path

    trackers = tuple(name for name in given if name in TRACKERS)
    files = [name for name in given if name not in TRACKERS]
    if len(files) > 1:
        raise click.UsageError(f"--log names one file, or off, beside tensorboard and mlflow; not {', '.join(files)}.")
    if not of_others:
        return Logs(log_path(*files or (None,)), trackers)
    if trackers and on_line("log"):
        raise click.UsageError(f"--log {trackers[0]} goes with --detections only.")
    return Logs(None, ())


def _log(
    logs: Logs,
    stored: DetectionsFile,
    split: str,
    images: int,
    figures: Noted,
    seconds: float,
    at: AtThreshold | None,
) -> None:
    """Note the evaluation."""
    from sppcli.artefacts.runs import RUNS, record_of
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages.run_log import log_run, track_run

    if logs == Logs(None, ()):
        return
    protocol, iou, mean, ap = figures
    record = record_of(
        stored, split=split, images=images, protocol=protocol, iou=iou, mean=mean, ap=dict(ap), seconds=seconds
    )
    if logs.path and (problem := log_run(logs.path, record)):
        console.detail(problem) if logs.path == Path(RUNS) else console.warn(problem)
    with console.progress("evaluate") as progress:
        track_run(record, at, RunOptions(trackers=logs.trackers, progress=progress))


def _localisation(localisations: Path, dataset: Path | None, split: str, as_json: bool) -> None:
    from sppcli.cli import console, scores
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import evaluate

    if not dataset:
        raise click.UsageError("--localization needs the DATASET to score against.")
    with console.progress("evaluate") as progress:
        error = evaluate.run_localisation(localisations, split, dataset, options=RunOptions(progress=progress))
    scores.print_localisation(error, split, as_json)


def _recall(
    proposals: tuple[Path, ...],
    results: Path | None,
    dataset: Path | None,
    split: str,
    plot: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from sppcli.cli import console, scores
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import recall

    if results:
        raise click.UsageError("--results and --proposals exclude each other.")
    with console.progress("evaluate") as progress:
        summary = recall.run(
            proposals, split, dataset=dataset, plot=plot, options=RunOptions(overwrite=overwrite, progress=progress)
        )
    scores.print_recall(summary, as_json)


def _stored(detections: Path, split: str, dataset: Path | None) -> DetectionsFile:
    """The detections, after `spp detect` if the file is not there or its inputs have changed."""
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import detect

    root = click.get_current_context().find_root()
    if not detections.exists() and (root.default_map or {}).get("detect"):
        # With the options that spp detect has in this folder.
        command = root.command.get_command(root, "detect") if isinstance(root.command, click.Group) else None
        assert command is not None
        arguments = ["--split", split, "-o", str(detections), *(["--dataset", str(dataset)] if dataset else [])]
        with command.make_context("detect", arguments, parent=root) as inner:
            command.invoke(inner)
    with console.progress("detect") as progress:
        stored, made = detect.ensure(detections, split, dataset=dataset, options=RunOptions(progress=progress))
    if made:
        console.say(f"{detections}: {count_of(made.detections, 'detection')} in {count_of(made.images, 'image')}")
    return stored
