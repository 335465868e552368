"""``spp calibrate``: probabilities and thresholds, to calibration.h5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import Share
from sppcli.paper import RECIPES
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.stages.calibrate import CalibrateSummary, ClassCalibration


@helpful.command("calibrate")
@options.proposals
@options.features
@options.svm
@options.bbox
@click.option("--no-bbox", is_flag=True, help="Calibrate for detection without bounding-box regression.")
@options.models("A folder with features.h5, svm.h5 and perhaps bbox.h5; several for networks that detect together.")
@options.network_file("A network made by spp train-detector, in place of SVMs.")
@options.output("calibration.h5")
@click.option(
    "--at",
    default="f1",
    metavar="AIM",
    help=(
        "What each threshold is chosen for: f1, the best F1; precision=0.95, the largest recall at this precision; "
        "recall=0.9, the largest precision at this recall."
    ),
)
@click.option(
    "--split",
    metavar="NAME",
    show_default="the training's own, by cross-validation; of --network val",
    help="Split to detect in, which the detector was not trained on, and which is not test.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=3,
    metavar="N",
    help="Folds of the cross-validation: the SVMs are trained again for each, on the images of the others.",
)
@click.option(
    "--held-out",
    type=Share(0.25),
    metavar="SHARE",
    help=(
        "In place of folds, train once more without this share of the images, and detect in these. A --network is "
        "trained anew too, so that its own images can serve."
    ),
)
@options.recipe
@options.seed
@options.dataset
@options.device
@options.asking
@options.force
@options.as_json
@options.verbosity
def command(
    proposals: Path,
    features: Path,
    svm: Path,
    bbox: Path | None,
    no_bbox: bool,
    models: tuple[Path, ...],
    network: Path | None,
    output: Path,
    at: str,
    split: str | None,
    folds: int,
    held_out: float | None,
    recipe: str,
    seed: int,
    dataset: Path | None,
    device: str,
    force: bool,
    wait: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn scores into probabilities, and choose the threshold of each class.

    The detector's scores in images that it was not trained on are compared with what is right there. The images of
    the training are divided into folds, and SVMs and box regression trained anew for each without it; the cost is that
    many trainings. With --held-out one training serves, and calibration has fewer images. With --split, or for a
    --network, a split that the training left out is taken. The test images have no part in it. spp detect, spp show
    and spp evaluate use the file.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.cli.commands.detect import check_inputs, model_paths
    from sppcli.detection.models import DetectPaths
    from sppcli.detection.scoring import DetectSettings
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import calibrate

    check_inputs(models, bbox, no_bbox)
    split, held_out = _where(split, held_out)
    if network:
        from sppcli.detection.network_scoring import NETWORK_SETTINGS

        settings = NETWORK_SETTINGS
    else:
        values = RECIPES[recipe]
        settings = DetectSettings(
            nms=values.nms,
            nms_again=values.nms_again,
            second_pass=values.second_pass,
            max_per_image=values.max_per_image,
            min_score=values.min_score,
        )
    how = "file" if bbox else "none" if no_bbox else "auto"
    config = calibrate.CalibrateConfig(
        at=at, split=split, folds=folds, held_out=held_out, seed=seed, bbox=how, settings=settings
    )
    paths = DetectPaths(proposals, model_paths(features, svm, bbox, models), network)
    with console.progress("calibrate") as progress:
        summary = calibrate.run(
            paths,
            output,
            config,
            dataset=dataset,
            options=RunOptions(force=force, wait=wait, overwrite=overwrite, device=device, progress=progress),
        )
    if as_json:
        console.print_json(asdict(summary))
    else:
        _print(summary)


def _where(split: str | None, held_out: float | None) -> tuple[str | None, float | None]:
    """The two options, without one that another, given in a stronger place, overrules."""
    from sppcli.cli.config import beats

    context = click.get_current_context()
    if beats(context, "folds", "held_out") or beats(context, "split", "held_out"):
        held_out = None
    if held_out and beats(context, "held_out", "split"):
        split = None
    if held_out and split:
        raise click.UsageError("--split and --held-out exclude each other.")
    if held_out and context.get_parameter_source("folds") is context.get_parameter_source("held_out"):
        raise click.UsageError("--folds and --held-out exclude each other.")
    return split, held_out


def _print(summary: CalibrateSummary) -> None:
    from sppcli.cli import console

    state = " (up to date)" if summary.up_to_date else ""
    how = f"{summary.folds} folds of {summary.split}" if summary.folds else summary.split
    how = f"held out of {summary.split}" if summary.held_out else how
    console.echo(
        f"{summary.path}: thresholds of {count_of(len(summary.classes), 'class', 'classes')} for {summary.at}, "
        f"from {count_of(summary.images, 'image')}, {how}{state}"
    )
    headers = ("class", "method", "threshold", "probability", "precision", "recall", "F1", "objects")
    console.table(headers, [_row(row) for row in summary.classes], footer=_row(summary.overall))


def _row(row: ClassCalibration) -> tuple[object, ...]:
    def shown(value: float | None) -> str | None:
        return None if value is None or value in (float("inf"), float("-inf")) else f"{value:.3f}"

    threshold = shown(row.threshold) if row.method else ""
    figures = (row.probability, row.precision, row.recall, row.f1)
    return (row.name, row.method, threshold, *map(shown, figures), row.objects)
