"""``spp train-bbox``: features.h5 to bbox.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.options import of_recipe
from sppcli.cli.spreading import Spread, spread_classes
from sppcli.cli.types import Fraction, PositiveFloat
from sppcli.runtime.counts import count_of


@helpful.command("train-bbox")
@options.proposals
@options.features
@options.output("bbox.h5")
@options.recipe
@options.windows
@options.split("trainval")
@of_recipe(
    "--min-iou", Fraction(0.5), "Region proposals whose IoU with an object is at least this are training examples."
)
@of_recipe("--strict-iou/--no-strict-iou", None, "Take examples whose IoU is above --min-iou, not equal to it.")
@of_recipe("--ridge", PositiveFloat(1000), "Weight of the squared norm in the ridge regression.")
@of_recipe(
    "--box-width",
    click.Choice(["half-open", "inclusive"]),
    "Whether the width from pixel 3 to pixel 5 is 3, or 2 as the release computes it.",
)
@options.flip
@options.log("the figures of each class")
@spread_classes
@options.asking
@options.training
def command(
    proposals: Path,
    features: Path,
    output: Path,
    recipe: str,
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
    """Train bounding-box regression for each class.

    Ridge regression predicts dx, dy, log dw and log dh, the offsets from a region proposal to the object's box,
    from the features of the proposal. --shard and --cluster divide the classes.
    """
    from dataclasses import asdict
    from functools import partial

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import train_bbox

    windows, values = options.window_settings(recipe, given)
    config = train_bbox.TrainBboxConfig(windows=windows, recipe=recipe, **values)
    with console.progress("train-bbox") as progress:
        summary = spread.run_classes(
            partial(train_bbox.run, proposals, features, config=config, dataset=dataset, weights=weights),
            output,
            RunOptions(force=force, wait=wait, overwrite=overwrite, device=device, trackers=log, progress=progress),
            extent=partial(train_bbox.extent, proposals, features, config, dataset=dataset),
            inputs=[proposals, features, *([Path(weights)] if weights else [])],
        )
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else ""
    levels = ",".join(map(str, summary.levels))
    trained = count_of(len(summary.classes), "class", "classes")
    console.echo(
        f"{summary.path}: {trained} from {count_of(summary.images, 'image')}, {summary.layer}, pyramid {levels}{state}"
    )
    console.table(
        ("class", "examples", "used", "error before", "after"),
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
