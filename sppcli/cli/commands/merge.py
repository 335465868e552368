"""``spp merge``: the shards of a run to the file that one machine would have made."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.runtime.counts import count_of


@helpful.command("merge")
@click.argument("shards", nargs=-1, required=True, metavar="SHARD...", type=options.FilePath)
@click.option(
    "-o",
    "--output",
    type=options.OutputPath,
    metavar="FILE",
    show_default="the name that the shards were made for, as features.h5",
    help="The file to write.",
)
@click.option(
    "--copy",
    is_flag=True,
    help=(
        "Copy the conv feature maps, as they are stored, in place of leading to those in the shards; these may then be "
        "removed."
    ),
)
@options.asking
@options.force
@options.as_json
@options.verbosity
def command(
    shards: tuple[Path, ...],
    output: Path | None,
    copy: bool,
    force: bool,
    wait: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Join the shards that --shard made into one file.

    The result holds what a run without shards would have made, and every later stage reads it as such. Conv feature
    maps stay in the shards, which must lie in the folder of the result or below it, unless --copy is given; tables are
    always copied. Shards of svm.h5 and bbox.h5 have some of the classes each. A shard that is missing, there twice or
    of another run is refused.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.runtime.shards import whole_of
    from sppcli.runtime.urls import is_by_url
    from sppcli.stages import merge

    if output is None and is_by_url(shards[0]):
        raise click.UsageError("name the file to write, by -o FILE or -o URL, where shards are given by URL.")
    target = output or whole_of(shards[0])
    with console.progress("merge") as progress:
        run = RunOptions(force=force, wait=wait, overwrite=overwrite, progress=progress)
        summary = merge.run(shards, target, copy=copy, options=run)
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else ""
    skipped = f", {summary.skipped} skipped" if summary.skipped else ""
    where = ", conv feature maps in the shards" if summary.linked else ""
    whole = count_of(summary.classes, "class", "classes") if summary.classes else count_of(summary.images, "image")
    console.echo(
        f"{summary.path}: {whole} of {count_of(summary.shards, 'shard')}, "
        f"{summary.bytes / 1e6:,.1f} MB{where}{skipped}{state}"
    )
