"""``spp report``: detections and ground truth as an HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import Fraction
from sppcli.runtime.counts import count_of


@helpful.command("report")
@click.argument("dataset", required=False, metavar="[DATASET]", type=options.FilePath)
@click.option(
    "--detections",
    type=options.FilePath,
    default="detections.h5",
    metavar="FILE",
    help="The detections made by spp detect, which runs first if the file does not exist or its inputs have changed.",
)
@options.output("report.html", "The HTML file to write.")
@options.split("test")
@click.option(
    "--images",
    type=click.IntRange(min=0),
    default=24,
    metavar="N",
    help="Number of pictures on the page: the images with the most false positives and missed objects.",
)
@click.option(
    "--iou",
    type=Fraction(0.5),
    default=0.5,
    help="A detection is a true positive if its IoU with an object is at least this.",
)
@click.option("--title", metavar="TEXT", show_default="the data set's name", help="Heading of the page.")
@options.overwrite
@options.as_json
@options.verbosity
def command(
    dataset: Path | None,
    detections: Path,
    output: Path,
    split: str,
    images: int,
    iou: float,
    title: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show what a detector finds and where it fails, as one HTML page.

    The page opens from disk in any browser and needs no network. It holds AP of each class, precision-recall and F1
    curves, the kinds of errors and what each costs in AP (TIDE), AP by object size, the confusion matrix, the worst
    images with their ground truth, label statistics, and the options and files that made the detections. A slider sets
    the threshold: boxes and counts follow it. DATASET is needed only if the images have moved since spp propose.
    """
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import detect, report

    with console.progress("detect") as progress:
        stored, made = detect.ensure(detections, split, dataset=dataset, options=RunOptions(progress=progress))
    if made:
        console.say(f"{detections}: {count_of(made.detections, 'detection')} in {count_of(made.images, 'image')}")
    config = report.ReportConfig(split=split, images=images, iou=iou, title=title or "")
    with console.progress("report") as progress:
        run = RunOptions(overwrite=overwrite, progress=progress)
        summary = report.run(stored, output, config, dataset=dataset, options=run)
    if as_json:
        console.print_json(summary)
        return
    console.echo(summary.output)
    console.say(
        f"mAP {'-' if summary.mAP is None else format(summary.mAP, '.4f')}, F1 {summary.f1:.4f} at {summary.what} "
        f"{summary.threshold:.3g}; {summary.pictures} of {count_of(summary.images, 'image')} shown, "
        f"{summary.size / 1e6:.1f} MB"
    )
