"""``spp train-svm``: features.h5 to svm.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sppcli.cli import options
from sppcli.cli.options import Fraction, Number, PositiveFloat, of_recipe


@click.command("train-svm")
@options.proposals
@options.features
@options.output("svm.h5")
@options.recipe
@options.windows
@options.split("trainval")
@click.option("--classes", type=options.NameList("car,person"), metavar="NAMES", help="Only these.  [default: all]")
@of_recipe("--c", PositiveFloat(), "The SVM's C.")
@of_recipe("--positive-weight", PositiveFloat(2), "Weight of a positive's loss; a negative's is 1.")
@of_recipe("--bias-feature", PositiveFloat(10), "Size of the constant feature that learns the bias.")
@of_recipe("--negative-iou", Fraction(), "Windows that overlap every object of the class by less are its negatives.")
@of_recipe("--duplicate-iou", Fraction(0.7), "Of an image's hard negatives that overlap more, one is kept; 1: all.")
@of_recipe(
    "--mining",
    click.Choice(["rounds", "single-pass"]),
    "Passes that train at their end (paper), or one that trains on the way (release).",
)
@of_recipe("--mining-rounds", click.IntRange(min=0), "Passes over all images for hard negatives.", metavar="N")
@of_recipe("--hard-score", Number(-1), "Windows that score above it are hard.")
@of_recipe("--evict-score", Number(-1.2), "Negatives that score below it after a training are dropped.")
@of_recipe("--retrain-after", click.IntRange(min=1), "More new negatives make a single pass train.", metavar="N")
@options.flip
@click.option(
    "--jitter",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Windows near each object (IoU 0.7 or more) that are positives too.",
)
@options.training
def command(
    proposals: Path,
    features: Path,
    output: Path,
    recipe: str,
    classes: tuple[str, ...] | None,
    weights: str | None,
    dataset: Path | None,
    device: str,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one linear SVM a class on the windows' features.

    Objects are the positives; negatives start as random windows, then those that a trained SVM takes for objects
    join them. Windows are pooled from the conv maps on the way, so memory does not grow with the images.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.stages import train_svm

    windows, values = options.window_settings(recipe, given)
    config = train_svm.TrainSvmConfig(windows, classes=classes or (), recipe=recipe, **values)
    with console.progress("train-svm") as progress:
        summary = train_svm.run(
            proposals,
            features,
            output,
            config,
            dataset=dataset,
            weights=weights,
            device=device,
            force=force,
            progress=progress,
        )
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else ""
    levels = ",".join(map(str, summary.levels))
    click.echo(
        f"{output}: {len(summary.classes)} classes from {summary.images:,} images, {summary.layer}, "
        f"pyramid {levels}, {summary.normalize}{state}"
    )
    console.table(
        ("class", "positives", "negatives", "trainings", "dropped"),
        [(row.name, row.positives, row.negatives, row.trainings, row.dropped) for row in summary.classes],
    )
