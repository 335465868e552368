"""``spp train-svm``: features.h5 to svm.h5."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import options
from sppcli.paper import SVM


@click.command("train-svm")
@options.proposals
@options.features
@options.output("svm.h5")
@options.layer
@options.pyramid
@click.option(
    "--normalize",
    type=click.Choice(["sqrt-l2", "l2", "none"]),
    default="sqrt-l2",
    show_default=True,
    help="Of each feature vector: square root, then length 1; length 1; as it is. Then scaled to a mean length of 20.",
)
@options.split("trainval")
@click.option("--classes", type=options.NameList("car,person"), metavar="NAMES", help="Only these.  [default: all]")
@click.option("--c", type=options.PositiveFloat(), default=SVM.c, show_default=True, help="The SVM's C.")
@click.option(
    "--positive-weight",
    type=options.PositiveFloat(2),
    default=SVM.positive_weight,
    show_default=True,
    help="Weight of a positive's loss; a negative's is 1.",
)
@click.option(
    "--negative-iou",
    type=options.Fraction(),
    default=SVM.negative_iou,
    show_default=True,
    help="Windows that overlap every object of the class by less are its negatives.",
)
@click.option(
    "--mining-rounds",
    type=click.IntRange(min=0),
    default=SVM.mining_rounds,
    show_default=True,
    metavar="N",
    help="Passes over all images for hard negatives.",
)
@options.memory
@options.seed
@options.network_weights
@options.dataset
@options.force
@options.as_json
@options.verbosity
def command(
    proposals: Path,
    features: Path,
    output: Path,
    layer: str,
    pyramid: tuple[int, ...] | None,
    normalize: str,
    split: str,
    classes: tuple[str, ...] | None,
    c: float,
    positive_weight: float,
    negative_iou: float,
    mining_rounds: int,
    memory: int,
    seed: int,
    weights: str | None,
    dataset: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train one linear SVM a class on the windows' features.

    Objects are the positives; negatives start as random windows, then those that a trained SVM takes for objects
    join them. Windows are pooled from the conv maps on the way, so memory does not grow with the images.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.stages import train_svm

    config = train_svm.TrainSvmConfig(
        layer=layer,
        pyramid=pyramid,
        normalize=normalize,
        split=split,
        classes=classes or (),
        c=c,
        positive_weight=positive_weight,
        negative_iou=negative_iou,
        mining_rounds=mining_rounds,
        memory=memory,
        seed=seed,
    )
    with console.progress("train-svm") as progress:
        summary = train_svm.run(
            proposals, features, output, config, dataset=dataset, weights=weights, force=force, progress=progress
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
