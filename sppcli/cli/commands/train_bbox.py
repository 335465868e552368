"""``spp train-bbox``: features.h5 to bbox.h5."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import options
from sppcli.paper import BOX


@click.command("train-bbox")
@options.proposals
@options.features
@options.output("bbox.h5")
@options.layer
@options.pyramid
@click.option(
    "--normalize",
    type=click.Choice(["sqrt-l2", "l2", "none"]),
    default="sqrt-l2",
    show_default=True,
    help="As for train-svm; detection is faster when both are the same.",
)
@options.split("trainval")
@click.option(
    "--min-iou",
    type=options.Fraction(0.5),
    default=BOX.min_iou,
    show_default=True,
    help="Windows that overlap an object at least so much are examples.",
)
@click.option(
    "--ridge",
    type=options.PositiveFloat(1000),
    default=BOX.ridge,
    show_default=True,
    help="Weight of the squared norm (R-CNN 1000, the release 4000).",
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
    min_iou: float,
    ridge: float,
    memory: int,
    seed: int,
    weights: str | None,
    dataset: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Learn to correct the boxes of detections: ridge regression of dx, dy, log dw, log dh, a class at a time."""
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.stages import train_bbox

    config = train_bbox.TrainBboxConfig(
        layer=layer,
        pyramid=pyramid,
        normalize=normalize,
        split=split,
        min_iou=min_iou,
        ridge=ridge,
        memory=memory,
        seed=seed,
    )
    with console.progress("train-bbox") as progress:
        summary = train_bbox.run(
            proposals, features, output, config, dataset=dataset, weights=weights, force=force, progress=progress
        )
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else ""
    levels = ",".join(map(str, summary.levels))
    click.echo(
        f"{output}: {len(summary.classes)} classes from {summary.images:,} images, {summary.layer}, "
        f"pyramid {levels}{state}"
    )
    console.table(
        ("class", "windows", "used", "error before", "after"),
        [
            (
                row.name,
                row.found,
                row.examples,
                "-" if row.error_before is None else f"{row.error_before:.3f}",
                "-" if row.error_after is None else f"{row.error_after:.3f}",
            )
            for row in summary.classes
        ],
    )
