"""``spp clean``: what may go from this folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import NameList

KINDS = {
    "features": "conv feature maps",
    "parts": "parts of a run that has not ended",
    "shards": "shards of a run",
    "checkpoints": "checkpoint",
}


@helpful.command("clean")
@click.argument("folder", default=".", type=options.LocalPath)
@click.option("--yes", is_flag=True, help="Remove what is listed. Without it nothing is removed.")
@click.option(
    "--keep",
    type=NameList("features,parts"),
    metavar="KINDS",
    show_default="nothing",
    help=f"Kinds to leave where they are: {', '.join(KINDS)}.",
)
@click.option("--urls", is_flag=True, help="In place of FOLDER: copies in the user's cache of what was given by URL.")
@options.as_json
@options.verbosity
def command(folder: Path, yes: bool, keep: tuple[str, ...] | None, urls: bool, as_json: bool) -> None:
    """Free the disk of what can be made again: maps, parts, shards, checkpoints.

    What may go is listed, the largest first, with what its absence costs. Proposals, models, detections and networks
    stay, as does everything that a running command works on.
    """
    from sppcli.cli import console
    from sppcli.cli.meter import size_text
    from sppcli.errors import MissingInput
    from sppcli.runtime.counts import count_of
    from sppcli.stages import clean

    for name in keep or ():
        if name not in KINDS:
            raise click.UsageError(f"There is no kind {name!r} to keep; the kinds are {', '.join(KINDS)}.")
    if urls and (keep or folder != Path()):
        raise click.UsageError("--urls is about the user's cache: leave out FOLDER and --keep.")
    if not folder.is_dir():
        raise MissingInput(f"{folder}: there is no such folder")
    kept = tuple(KINDS[name] for name in keep or ())
    there = clean.find_copies() if urls else clean.find(folder)
    found = [item for item in there if not item.what.startswith(kept or ("-",))]
    freed = clean.remove(found) if yes else 0
    whole = sum(item.bytes for item in found)
    if as_json:
        console.print_json({"removed": yes, "bytes": whole, "files": [asdict(item) for item in found]})
    elif not found:
        console.echo("nothing here can go")
    else:
        rows = [(_named(item.path, item.also), size_text(item.bytes), item.what, item.cost) for item in found]
        console.table(("file", "size", "what", "without it"), rows)
        count = count_of(sum(1 + len(item.also) for item in found), "file or folder", "files and folders")
        console.echo(
            f"{size_text(freed)} freed, {count} removed"
            if yes
            else f"{size_text(whole)} in {count} can go; 'spp clean {'--urls ' if urls else ''}--yes' removes them"
        )


def _named(path: Path, also: tuple[Path, ...]) -> str:
    """``path`` with what goes with it; shards made by hand may be many."""
    more = also[0] if len(also) == 1 else f"{len(also)} shards"
    return f"{path} and {more}" if also else str(path)
