"""``spp fetch``: public data sets and weights."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.nets.registry import BACKBONES

# As in stages.fetch, which --help does not import.
NAMES = (
    *(f"voc{year}" for year in range(2007, 2013)),
    *(name for name, entry in BACKBONES.items() if entry.downloads),
)


@helpful.command("fetch")
@click.argument("name", metavar="NAME", type=click.Choice(NAMES))
@click.option(
    "-o",
    "--output",
    type=options.LocalPath,
    default=".",
    metavar="FOLDER",
    help="Folder that archives of data sets are downloaded to and unpacked in.",
)
@options.as_json
@options.verbosity
def command(name: str, output: Path, as_json: bool) -> None:
    """Download a data set or ImageNet weights, and check it.

    NAME is voc2007 (trainval and test) to voc2012 (trainval), or the name of a backbone: alexnet, vgg16, resnet50 ...
    What is there already is not downloaded again. A download that was cut off goes on where it ended. Data sets are
    unpacked.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import fetch

    with console.progress("fetch") as progress:
        summary = fetch.run(name, output, options=RunOptions(progress=progress))
    if as_json:
        console.print_json(asdict(summary))
    else:
        came = f"{summary.downloaded / 1e6:,.1f} MB downloaded" if summary.downloaded else "there already"
        console.echo(f"{summary.path}: {name}, {came}")
