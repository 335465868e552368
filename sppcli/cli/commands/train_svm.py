"""``spp train-svm``: features.h5 to svm.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.options import of_recipe
from sppcli.cli.spreading import Spread, spread_classes
from sppcli.cli.types import Fraction, NameList, Number, PositiveFloat
from sppcli.runtime.counts import count_of


@helpful.command("train-svm")
@options.proposals
@options.features
@options.output("svm.h5")
@options.recipe
@options.windows
@options.split("trainval")
@click.option(
    "--classes", type=NameList("car,person"), metavar="NAMES", help="Train only these classes.  [default: all]"
)
@of_recipe("--c", PositiveFloat(), "C of the SVMs, the weight of the loss against the squared norm.")
@of_recipe(
    "--positive-weight", PositiveFloat(2), "Weight of the loss of a positive sample; that of a negative one is 1."
)
@of_recipe("--bias-feature", PositiveFloat(10), "Value of the constant feature whose weight is the bias.")
@of_recipe(
    "--negative-iou",
    Fraction(),
    "Region proposals whose IoU with every object of the class is below this are its negatives.",
)
@of_recipe(
    "--duplicate-iou",
    Fraction(0.7),
    "Of hard negatives of one image whose IoU with each other is above this, one is kept; 1 keeps all.",
)
@of_recipe(
    "--mining",
    click.Choice(["rounds", "single-pass"]),
    (
        "How hard negatives are mined: rounds, passes over all images with a training after each "
        "(paper); single-pass, one pass that trains on the way (release)."
    ),
)
@of_recipe(
    "--mining-rounds", click.IntRange(min=0), "Number of passes over all images for hard negative mining.", metavar="N"
)
@of_recipe(
    "--first-negatives",
    click.IntRange(min=1),
    "With --mining rounds: number of random negatives per class, over all images, before the first training.",
    metavar="N",
)
@of_recipe(
    "--hard-per-image",
    click.IntRange(min=1),
    "With --mining rounds: number of hard negatives that an image adds to a class at most in each pass.",
    metavar="N",
)
@of_recipe("--hard-score", Number(-1), "Negatives that score above this are hard.")
@of_recipe(
    "--evict-score", Number(-1.2), "Negatives that score below this after a training are removed from the samples."
)
@of_recipe(
    "--retrain-after",
    click.IntRange(min=1),
    "With --mining single-pass: train again after more than this number of new negatives.",
    metavar="N",
)
@options.flip
@click.option(
    "--jitter",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Number of random boxes near each object (IoU at least 0.7) that are positives too.",
)
@options.log("the figures of each class")
@spread_classes
@options.asking
@options.training
def command(
    proposals: Path,
    features: Path,
    output: Path,
    recipe: str,
    classes: tuple[str, ...] | None,
    weights: str | None,
    dataset: Path | None,
    spread: Spread,
    device: str,
    force: bool,
    wait: bool,
    log: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one linear SVM per class on region proposals.

    The objects are the positives. The negatives are random region proposals at first; hard negative mining then
    adds those that a trained SVM takes for objects. Features are pooled from the conv maps as they are needed, so
    memory does not grow with the number of images. --shard and --cluster divide the classes; each shard reads all of
    features.h5.
    """
    from dataclasses import asdict
    from functools import partial

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import train_svm

    windows, values = options.window_settings(recipe, given)
    config = train_svm.TrainSvmConfig(windows=windows, classes=classes or (), recipe=recipe, **values)
    with console.progress("train-svm") as progress:
        summary = spread.run_classes(
            partial(train_svm.run, proposals, features, config=config, dataset=dataset, weights=weights),
            output,
            RunOptions(force=force, wait=wait, overwrite=overwrite, device=device, trackers=log, progress=progress),
            extent=partial(train_svm.extent, proposals, features, config, dataset=dataset),
            inputs=[proposals, features, *([Path(weights)] if weights else [])],
        )
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else ""
    levels = ",".join(map(str, summary.levels))
    trained = count_of(len(summary.classes), "class", "classes")
    console.echo(
        f"{summary.path}: {trained} from {count_of(summary.images, 'image')}, "
        f"{summary.layer}, pyramid {levels}, {summary.normalize}{state}"
    )
    console.table(
        ("class", "positives", "negatives", "trainings", "dropped"),
        [(row.name, row.positives, row.negatives, row.trainings, row.dropped) for row in summary.classes],
    )
