"""``spp classify``: networks and images to errors or classes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.stages.classify import Result


@helpful.command("classify")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=options.FilePath)
@click.option(
    "--network",
    "networks",
    type=options.FilePath,
    multiple=True,
    default=["network.safetensors"],
    metavar="FILE",
    help="A network made by spp train-net. Given several times, the scores of the networks are averaged.",
)
@click.option(
    "--views",
    type=click.Choice(["center", "ten", "full", "multi"]),
    default="ten",
    help=(
        "Views of each image whose scores are averaged. center: the centre crop; ten: corners, centre "
        "and their mirror images; full: the whole image; multi: 96 crops at six scales, and the whole "
        "image with its mirror image."
    ),
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["auto", "crops", "maps"]),
    default="auto",
    help=(
        "Where the features of a view come from: crops runs each crop through the network, maps pools it "
        "from the conv maps of the whole image. auto takes maps for full and multi, and for ten where "
        "the network has a pyramid."
    ),
)
@click.option(
    "--scales",
    type=IntList("256,300"),
    metavar="PIXELS",
    help=(
        "Lengths in pixels that the shorter side of the image is resized to.  [default: the paper's, in "
        "proportion to the network's input]"
    ),
)
@click.option(
    "--split", metavar="NAME", help="Classify the images of this folder: train, val or test.  [default: val, else test]"
)
@click.option(
    "--predictions",
    is_flag=True,
    help="Print the predicted classes of each image, even where the folders name the true ones.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, metavar="N", help="Number of classes to print for each image."
)
@options.precision
@options.device
@options.strict
@options.as_json
@options.verbosity
def command(sources: tuple[Path, ...], device: str, strict: bool, as_json: bool, **given: Any) -> None:
    """Classify images with networks of spp train-net.

    SOURCE is a folder with one sub-folder per class, or with such folders in val/ or test/; then the top-1 and top-5
    errors are printed. For any other folder, for image files, or for paths on standard input (-), the predicted classes
    are printed.
    """
    from sppcli.cli import console
    from sppcli.cli.commands.propose import expand
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import classify

    config = classify.ClassifyConfig(**given)
    with console.progress("classify") as progress:
        run = RunOptions(strict=strict, device=device, progress=progress)
        summary = classify.run(expand(sources), config, options=run)
    if as_json:
        console.print_json(asdict(summary))
        return
    for prediction in summary.predictions:
        named = "  ".join(
            f"{name} {value:.3f}" for name, value in zip(prediction.classes, prediction.probabilities, strict=True)
        )
        console.echo(f"{prediction.image}: {named}")
    if summary.labelled:
        console.table(
            ["network", "views", "from", "top-1 error %", "top-5 error %", "images/s"],
            [_row(result, summary.images) for result in summary.results],
        )
        left_out = f", {len(summary.skipped)} left out" if summary.skipped else ""
        console.say(f"{count_of(summary.images, 'image')} of {count_of(summary.classes, 'class', 'classes')}{left_out}")


def _row(result: Result, images: int) -> list[str | int | None]:
    errors = [None if e is None else f"{100 * e:.2f}" for e in (result.top1_error, result.top5_error)]
    return [result.network, result.views, result.source, *errors, f"{images / max(result.seconds, 1e-9):.1f}"]
