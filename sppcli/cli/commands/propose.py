"""``spp propose``: images to proposals.h5."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sppcli.cli import options
from sppcli.engine.cpus import cpu_threads
from sppcli.paper import DEFAULT


@click.command("propose")
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path, allow_dash=True)
)
@options.output("proposals.h5")
@click.option(
    "--mode",
    type=click.Choice(["fast", "quality", "single"]),
    default=DEFAULT.mode,
    show_default=True,
    help="Selective Search's: quality finds more windows and takes three times as long.",
)
@click.option(
    "--max-proposals",
    type=click.IntRange(min=1),
    default=DEFAULT.max_proposals,
    show_default=True,
    metavar="N",
    help="At most so many windows an image, drawn evenly from all.",
)
@click.option(
    "--max-side",
    type=click.IntRange(min=16),
    default=DEFAULT.max_side,
    show_default=True,
    metavar="PIXELS",
    help="Search larger images at this size and map the boxes back.",
)
@click.option(
    "--engine",
    type=click.Choice(["spp", "opencv"]),
    default="spp",
    show_default=True,
    help="opencv finds the same windows, ten times slower: the reference to check against.",
)
@options.seed
@options.jobs
@options.strict
@options.force
@options.dry_run
@options.as_json
@options.verbosity
def command(
    sources: tuple[Path, ...],
    output: Path,
    mode: str,
    max_proposals: int,
    max_side: int,
    engine: str,
    seed: int,
    jobs: int | None,
    strict: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find the windows of each image that may hold an object.

    SOURCE is a PASCAL VOC folder or devkit, a folder of images (with the folders in it), image files, or - for
    paths on standard input. The result does not depend on -j or on the order of the images.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.proposals.search import ProposeConfig
    from sppcli.stages import propose

    config = ProposeConfig(mode, max_proposals, max_side, seed)
    with console.progress("propose") as progress:
        summary = propose.run(
            expand(sources),
            output,
            config,
            engine=engine,
            jobs=jobs or cpu_threads(),
            strict=strict,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        console.print_json(asdict(summary))
    elif summary.dry_run:
        click.echo(f"would search {summary.found:,} of {summary.images:,} images and write {output}")
    else:
        each = summary.windows / max(1, summary.images)
        state = " (up to date)" if summary.up_to_date else ""
        skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
        click.echo(
            f"{output}: {summary.images:,} images, {summary.windows:,} windows ({each:,.0f} an image){skipped}{state}"
        )


def expand(sources: tuple[Path, ...]) -> list[Path]:
    """``-`` replaced by the paths on standard input, one a line."""
    found: list[Path] = []
    for source in sources:
        if str(source) == "-":
            found.extend(Path(line.rstrip("\r\n")) for line in sys.stdin if line.strip())
        else:
            found.append(source)
    if not found:
        from sppcli.errors import MissingInput

        raise MissingInput("no paths on standard input: give one image path a line")
    return found
