"""``spp show``: artefacts to pictures."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList, NameList, Number, PathOrUrl
from sppcli.runtime.counts import count_of


@helpful.command("show")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=options.FilePath)
@click.option(
    "-o",
    "--output",
    type=PathOrUrl("write", text=True),
    metavar="FILE.png|FILE.jpg|FOLDER/",
    show_default="detections.png, proposals.png or ground-truth.png",
    help="The file of a contact sheet (a JPEG has less than 1 MB), or a folder for one PNG per image.",
)
@click.option(
    "--what",
    type=click.Choice(["detections", "proposals", "ground-truth"]),
    show_default="what the file holds",
    help="What to draw on the images.",
)
@click.option(
    "--images",
    type=NameList("000005,000007"),
    metavar="ID,...",
    help="Ids of the images to draw, separated by commas.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=12,
    metavar="N",
    help="Number of images to draw, evenly spread over the data set, if --images is not given.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Choose the images at random with this seed, not evenly spread.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=1),
    metavar="N",
    help="Draw in their place the N images with the most false positives and missed objects, the worst first.",
)
@click.option(
    "--only",
    metavar="false|missed|CLASS",
    help="Draw only false positives, missed objects, or one class, on images that have such.",
)
@click.option("--split", metavar="NAME", show_default="all", help="Draw only images of this split.")
@click.option(
    "--min-score",
    type=Number(),
    metavar="SCORE",
    show_default="the thresholds of spp calibrate, if it has run, else 0, or a network's probability of 0.5",
    help="Leave out detections that score less than this.",
)
@click.option(
    "--max-boxes",
    type=click.IntRange(min=1),
    default=100,
    metavar="N",
    help="Largest number of boxes drawn on an image; the best are kept.",
)
@click.option(
    "--explain",
    type=click.Choice(["pyramid", "receptive-field", "channels"]),
    help="Draw the method over the image FILE: the bins of a pyramid, what cells see, or channels of the conv map.",
)
@click.option(
    "--box",
    type=IntList("200,120,440,360", repeats=True),
    metavar="X0,Y0,X1,Y1",
    show_default="the middle half of the image",
    help="With --explain pyramid: the region that is pooled, in pixels.",
)
@click.option(
    "--scale",
    type=click.IntRange(min=16),
    default=688,
    metavar="PIXELS",
    help="With --explain: length that the shorter side of the image is resized to.",
)
@click.option(
    "--weights",
    type=options.Weights,
    default="imagenet",
    metavar="imagenet|FILE",
    help="With --explain: the network, as of spp extract.",
)
@click.option(
    "--backbone",
    metavar="NAME",
    show_default="what the weights are of",
    help="With --explain: the network's architecture, as of spp extract.",
)
@options.dataset
@options.overwrite
@options.as_json
@options.verbosity
def command(
    files: tuple[Path, ...],
    output: str | None,
    what: str | None,
    images: tuple[str, ...] | None,
    count: int,
    seed: int | None,
    worst: int | None,
    only: str | None,
    split: str | None,
    min_score: float | None,
    max_boxes: int,
    explain: str | None,
    box: tuple[int, ...] | None,
    scale: int,
    weights: str,
    backbone: str | None,
    dataset: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw detections, region proposals or ground truth on images.

    FILE is detections.h5, proposals.h5 or, for ground truth, the folder of a data set. Without a FILE, detections.h5 of
    the current folder is drawn, or else its proposals.h5. Detections are drawn over the ground truth where there is
    any: true positives solid, false positives dotted, missed objects named. Of the proposals the best are drawn, and
    for each object the proposal with the largest IoU.

    With --explain, FILE is an image, over which the method is drawn for teaching.
    """
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import show

    if explain:
        _explain(files, output or f"{explain}.png", explain, box, scale, weights, backbone, overwrite, as_json)
        return
    config = show.ShowConfig(
        what=what,
        images=images or (),
        count=count,
        seed=seed,
        worst=worst,
        only=only,
        split=split,
        min_score=min_score,
        max_boxes=max_boxes,
        dataset=dataset,
    )
    with console.progress("show") as progress:
        summary = show.run(files, output, config, options=RunOptions(overwrite=overwrite, progress=progress))
    if as_json:
        console.print_json(summary)
        return
    for path in summary.files:
        console.echo(path)
    left_out = f", {len(summary.skipped)} left out" if summary.skipped else ""
    console.say(
        f"{summary.what.replace('-', ' ')} on {len(summary.pictures)} of {count_of(summary.of, 'image')}{left_out}"
    )


def _explain(
    files: tuple[Path, ...],
    output: str,
    what: str,
    box: tuple[int, ...] | None,
    scale: int,
    weights: str,
    backbone: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    if len(files) != 1:
        raise click.UsageError("--explain draws over one image: spp show photo.jpg --explain pyramid.")
    if box is not None and len(box) != 4:
        raise click.UsageError("--box is four numbers, X0,Y0,X1,Y1.")
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import explain

    region = None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    config = explain.ExplainConfig(what=what, weights=weights, backbone=backbone, scale=scale, box=region)
    with console.progress("show") as progress:
        run = RunOptions(overwrite=overwrite, progress=progress)
        summary = explain.run(files[0], Path(output), config, options=run)
    if as_json:
        console.print_json(summary)
        return
    console.echo(summary.output)
    rows, columns, channels = summary.cells
    console.say(f"{summary.network}: a conv map of {columns} x {rows} cells and {channels} channels")
