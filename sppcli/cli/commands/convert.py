"""``spp convert``: a data set in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.datasets.records import Format


@helpful.command("convert")
@click.argument("source", metavar="SOURCE", type=options.FilePath)
@click.argument("destination", metavar="DEST", type=options.LocalPath)
@click.option(
    "--to",
    required=True,
    type=click.Choice(["voc", "coco", "yolo", "csv"]),
    help="Format to write: VOC XML files, COCO JSON, YOLO text files, or a CSV table.",
)
@click.option("--link/--copy", default=False, help="Link to the original images, or copy them.")
@options.as_json
@options.verbosity
def command(source: Path, destination: Path, to: Format, link: bool, as_json: bool) -> None:
    """Write a data set in another annotation format.

    The annotated data set SOURCE is written to the new folder DEST. Boxes, classes, splits and flags are kept as far as
    the format can hold them; what it cannot hold is counted and reported.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import convert

    config = convert.ConvertConfig(to=to, link=link)
    with console.progress("convert") as progress:
        summary = convert.run(source, destination, config, options=RunOptions(progress=progress))
    if as_json:
        console.print_json(asdict(summary))
    else:
        splits = ", ".join(f"{name} {count:,}" for name, count in summary.splits.items()) or "none"
        console.echo(
            f"{destination}: {to}, {count_of(summary.images, 'image')}, {count_of(summary.objects, 'object')} of "
            f"{count_of(len(summary.classes), 'class', 'classes')}; splits: {splits}"
        )
