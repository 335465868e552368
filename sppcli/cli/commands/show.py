"""``spp show``: artefacts to pictures."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import NameList, Number
from sppcli.runtime.counts import count_of


@helpful.command("show")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=options.FilePath)
@click.option(
    "-o",
    "--output",
    metavar="FILE.png|FOLDER/",
    show_default="detections.png, proposals.png or ground-truth.png",
    help="The PNG file of a contact sheet, or a folder for one picture per image.",
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
@click.option("--split", metavar="NAME", show_default="all", help="Draw only images of this split.")
@click.option(
    "--min-score",
    type=Number(),
    metavar="SCORE",
    show_default="the thresholds of spp calibrate, if it has run, else 0",
    help="Leave out detections that score less than this.",
)
@click.option(
    "--max-boxes",
    type=click.IntRange(min=1),
    default=100,
    metavar="N",
    help="Largest number of boxes drawn on an image; the best are kept.",
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
    split: str | None,
    min_score: float | None,
    max_boxes: int,
    dataset: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw detections, region proposals or ground truth on images.

    FILE is detections.h5, proposals.h5 or, for ground truth, the folder of a data set. Without a FILE, detections.h5 of
    the current folder is drawn, or else its proposals.h5. Detections are drawn over the ground truth where there is
    any: true positives solid, false positives dotted, missed objects named. Of the proposals the best are drawn, and
    for each object the proposal with the largest IoU.
    """
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import show

    config = show.ShowConfig(
        what=what,
        images=images or (),
        count=count,
        seed=seed,
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
