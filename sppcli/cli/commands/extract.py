"""``spp extract``: proposals.h5 to features.h5."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from sppcli.cli import helpful, options
from sppcli.cli.options import of_recipe
from sppcli.cli.spreading import Spread
from sppcli.cli.spreading import spread as spread_options
from sppcli.cli.types import IntList
from sppcli.runtime.counts import count_of


@helpful.command("extract")
@options.proposals
@options.output("features.h5")
@options.recipe
@of_recipe("--scales", IntList(), "Lengths in pixels that the shorter side of the image is resized to.")
@options.network
@click.option(
    "--method",
    type=click.Choice(["spp", "rcnn"]),
    default="spp",
    help=(
        "spp stores conv feature maps of whole images; rcnn stores features of every region proposal and "
        "object, each computed by itself."
    ),
)
@click.option(
    "--layer",
    type=click.Choice(["pool5", "fc6", "fc7"]),
    show_default="the network's last",
    help="With --method rcnn: the layer whose output is stored.",
)
@click.option(
    "--side",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    show_default="that of the network's training inputs",
    help="With --method rcnn: side of the square that region proposals are warped to.",
)
@click.option(
    "--context",
    type=click.IntRange(min=0),
    default=16,
    metavar="PIXELS",
    help="With --method rcnn: pixels on each side of the square that show the surroundings of the proposal.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="1, on a GPU 8; R-CNN 8, on a GPU 64",
    help=(
        "Number of images of equal size (with --method rcnn: of crops) that go through the network at "
        "once. It changes the result by rounding only."
    ),
)
@click.option("--flip", is_flag=True, help="Store the maps of the mirror images too, which trainings with --flip need.")
@spread_options
@options.strict
@options.force
@options.dry_run
@options.as_json
@options.verbosity
def command(
    proposals: Path,
    output: Path,
    recipe: str,
    scales: tuple[int, ...] | None,
    backbone: str | None,
    weights: str,
    cut: str | None,
    normalisation: str | None,
    precision: str,
    device: str,
    method: str,
    layer: str | None,
    side: int | None,
    context: int,
    batch: int | None,
    flip: bool,
    spread: Spread,
    strict: bool,
    force: bool,
    wait: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compute conv feature maps of whole images at each scale.

    The maps are the cache of the method: every later stage pools the features of region proposals from them. With
    --method rcnn, the baseline, features of each proposal are computed by themselves and the later stages read those.
    """
    from dataclasses import asdict
    from functools import partial

    from sppcli.artefacts.proposals import read_images
    from sppcli.cli import console

    for name in ("scales", "flip") if method == "rcnn" else ("layer", "side", "context"):
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} has no meaning with --method {method}.")
    scales = options.chosen(recipe, {"scales": scales})["scales"]
    if dry_run and method == "spp":
        _say_plan(proposals, output, (weights, backbone, cut, scales, flip, precision), force, as_json)
        return
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import extract

    rcnn = extract.RcnnConfig(layer=layer, side=side, context=context) if method == "rcnn" else None
    config = extract.ExtractConfig(
        weights=weights,
        backbone=backbone,
        cut=cut,
        normalisation=normalisation,
        recipe=recipe,
        scales=scales,
        precision=precision,
        rcnn=rcnn,
        flip=flip,
        batch=batch,
    )
    with console.progress("extract") as progress:
        run = RunOptions(
            force=force,
            wait=wait,
            overwrite=overwrite,
            strict=strict,
            dry_run=dry_run,
            device=device,
            progress=progress,
        )
        stage, inputs = partial(extract.run, proposals, config=config), [proposals, Path(weights)]
        summary = spread.run(stage, output, run, ids=lambda: read_images(proposals).ids, inputs=inputs)
    if as_json:
        console.print_json(asdict(summary))
    elif summary.dry_run:
        console.echo(
            f"would extract {summary.extracted:,} of {count_of(summary.images, 'image')} and write {summary.path}"
        )
    else:
        network = summary.network
        state = " (up to date)" if summary.up_to_date else ""
        skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
        what = (
            f"each proposal by itself, {summary.layer}"
            if summary.layer
            else f"at {count_of(len(summary.scales), 'scale')}"
        )
        console.echo(
            f"{summary.path}: {count_of(summary.images, 'image')} {what}, "
            f"{network.backbone if network else ''}, {summary.stored_bytes / 1e6:,.0f} MB{skipped}{state}"
        )


def _say_plan(
    proposals: Path,
    output: Path,
    wanted: tuple[str, str | None, str | None, tuple[int, ...], bool, str],
    force: bool,
    as_json: bool,
) -> None:
    """What would be done, from the files alone."""
    from dataclasses import asdict

    from sppcli.cli import chain, console
    from sppcli.detection.extract_plan import MapsWanted, plan_maps

    weights, backbone, cut, scales, flip, precision = wanted
    maps = MapsWanted(weights=weights, backbone=backbone, cut=cut, scales=scales, flip=flip, precision=precision)
    plan = plan_maps(proposals, output, maps, force)
    if as_json:
        console.print_json(asdict(plan))
    else:
        console.echo(f"would extract {plan.extracted:,} of {count_of(plan.images, 'image')} and write {output}")
        if plan.extracted:
            chain.foretell(click.get_current_context(), plan.extracted / plan.images)
