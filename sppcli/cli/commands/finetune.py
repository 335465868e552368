"""``spp finetune``: proposals.h5 and features.h5 to finetuned.safetensors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import Fraction, IntList, PositiveFloat
from sppcli.paper import RECIPES
from sppcli.runtime.counts import count_of


@helpful.command("finetune")
@options.proposals
@options.features
@options.output("finetuned.safetensors")
@options.split("trainval")
@click.option("--validation", metavar="SPLIT", help="Split to validate on.  [default: a share of --split]")
@click.option(
    "--held-out",
    type=Fraction(0.1),
    default=0.1,
    help="Share of the images of --split that is held out to validate on, if --validation is not given.",
)
@options.recipe
@click.option(
    "--iterations",
    type=click.IntRange(min=2),
    metavar="N",
    help=(
        "Number of mini-batches, over which the recipe's learning rates are spread as over its own; by default the "
        "last sixth is trained at a tenth of the learning rate.  [default: the recipe's]"
    ),
)
@click.option(
    "--rate",
    type=PositiveFloat(0.001),
    help="Learning rate at the start.  [default: the recipe's; else 0.001 for sgd, 0.0003 for adamw]",
)
@click.option(
    "--optimizer",
    "optimiser",
    type=click.Choice(["sgd", "adamw"]),
    help=(
        "Optimisation method.  [default: adamw for new fc layers, sgd for trained ones; recipes paper and release: sgd]"
    ),
)
@click.option(
    "--even-classes/--even-windows",
    default=None,
    help=(
        "Draw the region proposals of each class equally often, or each proposal equally often.  "
        "[default: classes; recipes paper and release: windows]"
    ),
)
@click.option(
    "--fc",
    type=IntList("1024,1024", repeats=True),
    default="1024,1024",
    metavar="WIDTHS",
    help="Number of units of each new fc layer, for a network that has none.",
)
@options.pyramid
@click.option(
    "--batch", type=click.IntRange(min=4), default=128, metavar="N", help="Number of region proposals per mini-batch."
)
@click.option(
    "--check",
    type=click.IntRange(min=1),
    default=100,
    metavar="N",
    help="Number of mini-batches between two validations.",
)
@options.flip
@options.checkpoint
@options.log("the learning curves")
@options.asking
@options.training
def command(
    proposals: Path,
    features: Path,
    output: Path,
    recipe: str,
    optimiser: str | None,
    even_classes: bool | None,
    pyramid: tuple[int, ...] | None,
    weights: str | None,
    dataset: Path | None,
    device: str,
    force: bool,
    wait: bool,
    log: tuple[str, ...],
    overwrite: bool,
    checkpoint_seconds: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Fine-tune fc6 and fc7 on region proposals.

    fc6, fc7 and a new softmax over classes and background are trained. The conv layers stay as they are, so features.h5
    remains valid. Go on with spp train-svm --layer fc7 --weights finetuned.safetensors. A network without fc layers
    gets new ones. Processes that torchrun starts, on one machine or several, train as one.
    """
    from sppcli.cli import console
    from sppcli.detection.training_plan import WindowSettings
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import finetune

    values = RECIPES[recipe]
    windows = WindowSettings(
        pyramid=pyramid, scale_rule=values.scale_rule, slack=values.slack, window_side=values.window_side
    )
    config = finetune.FinetuneStageConfig(
        windows=windows,
        recipe=recipe,
        schedule=values.finetune_schedule,
        optimiser=optimiser or values.finetune_optimiser,
        even_classes=values.finetune_even_classes if even_classes is None else even_classes,
        **given,
    )
    with console.progress("finetune") as progress:
        run = RunOptions(force=force, wait=wait, overwrite=overwrite, device=device, trackers=log, progress=progress)
        summary = finetune.run(
            proposals,
            features,
            output,
            config,
            dataset=dataset,
            weights=weights,
            checkpoint_seconds=checkpoint_seconds,
            options=run,
        )
    if summary is None:
        return
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else ""
    console.echo(
        f"{output}: {count_of(len(summary.classes), 'class', 'classes')} from {count_of(summary.images, 'image')}, "
        f"{count_of(summary.foreground, 'proposal')} of objects and {summary.background:,} of background, "
        f"step {summary.best:,} of {summary.steps:,}{state}"
    )
    shown = summary.checks[:: max(1, len(summary.checks) // 8)]
    console.table(
        ("step", "rate", "loss", "validation loss", "validation error %"),
        [
            (c.step, f"{c.rate:g}", f"{c.loss:.3f}", f"{c.validation_loss:.3f}", f"{100 * c.validation_error:.1f}")
            for c in shown
        ],
    )
