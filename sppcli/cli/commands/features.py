"""``spp features``: one vector a whole image."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.spreading import Spread
from sppcli.cli.spreading import spread as spread_options
from sppcli.runtime.counts import count_of


@helpful.command("features")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=options.FilePath)
@options.output("image-features.h5")
@options.network
@click.option(
    "--side",
    type=click.IntRange(min=1),
    default=256,
    metavar="PIXELS",
    help="Resize the image's shorter side to this length and keep the aspect ratio.",
)
@click.option(
    "--views",
    type=click.Choice(["full", "crop"]),
    default="full",
    help="Read the whole image, or only its centre square.",
)
@options.layer
@options.pyramid
@click.option(
    "--normalize",
    type=click.Choice(["l2", "none"]),
    default="l2",
    help="l2 scales each vector to length 1; none leaves it as it is.",
)
@click.option("--flip", is_flag=True, help="Average the vectors of the image and its mirror image.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=32,
    metavar="N",
    help=(
        "Largest number of images of equal size that go through the network at once. It changes the "
        "result by rounding only."
    ),
)
@spread_options
@options.strict
@options.asking
@options.force
@options.as_json
@options.verbosity
def command(
    sources: tuple[Path, ...],
    output: Path,
    backbone: str | None,
    weights: str,
    cut: str | None,
    normalisation: str | None,
    precision: str,
    device: str,
    side: int,
    views: str,
    layer: str,
    pyramid: tuple[int, ...] | None,
    normalize: str,
    flip: bool,
    batch: int,
    spread: Spread,
    strict: bool,
    force: bool,
    wait: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compute one feature vector for each whole image.

    The vector is pooled by the pyramid from the conv feature map of the whole image, whatever its size. SOURCE is a VOC
    data set, a folder with one sub-folder per class (directly, or in train/, val/ and test/), or images without labels.
    spp probe trains linear classifiers on the result.
    """
    from dataclasses import asdict
    from functools import partial

    from sppcli.cli import console
    from sppcli.datasets.classification import open_classified
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import features

    config = features.FeaturesConfig(
        weights=weights,
        backbone=backbone,
        cut=cut,
        normalisation=normalisation,
        side=side,
        views=views,
        layer=layer,
        pyramid=pyramid,
        normalize=normalize,
        flip=flip,
        precision=precision,
        batch=batch,
    )
    with console.progress("features") as progress:
        run = RunOptions(force=force, wait=wait, overwrite=overwrite, strict=strict, device=device, progress=progress)
        summary = spread.run(
            partial(features.run, sources, config=config),
            output,
            run,
            ids=lambda: [item.id for item in open_classified(sources).images],
            inputs=[Path(weights)],
        )
    if as_json:
        console.print_json(asdict(summary))
        return
    labels = count_of(len(summary.classes), "class", "classes") if summary.classes else "no labels"
    splits = f", splits {', '.join(summary.splits)}" if summary.splits else ""
    skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
    state = " (up to date)" if summary.up_to_date else ""
    console.echo(
        f"{summary.path}: {count_of(summary.images, 'image')} of {count_of(summary.features, 'feature')} "
        f"({summary.network.backbone}, {summary.layer}), {labels}{splits}{skipped}{state}"
    )
