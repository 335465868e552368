"""``spp info``: what a file holds, and what made it."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.errors import BadArtefact, SppError


@helpful.command("info")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=options.FilePath)
@click.option("--verify", is_flag=True, help="Check every byte of each file against its checksums.")
@options.as_json
@options.verbosity
def command(files: tuple[Path, ...], verify: bool, as_json: bool) -> None:
    """Show what a file holds and what made it.

    FILE is any file that spp makes, or a network in safetensors. Without a FILE, everything in the current folder is
    shown: sizes, counts and options, what each file was made from, what was left out, and runs that have not ended yet.
    With --verify the exit code is 3 if a file is damaged.
    """
    from sppcli.cli import console
    from sppcli.stages import info

    paths = list(files) or info.default_files()
    found, problems = [], []
    for path in paths:
        try:
            found.append(info.describe(path, verify))
        except SppError as error:
            if len(paths) == 1:
                raise
            problems.append(error)
    if as_json:
        console.print_json({"files": found})
    else:
        for i, description in enumerate(found):
            console.sheet(str(description.path), info.lines(description), apart=i > 0)
    for problem in problems:
        console.warn(str(problem))
    if problems:
        raise BadArtefact(f"{len(problems)} of {len(paths)} files cannot be described; see the lines above")
