"""``spp info``: what a file holds, and what made it."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import options
from sppcli.errors import BadArtefact, SppError


@click.command("info")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=options.FilePath)
@options.as_json
@options.verbosity
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Say what a file holds and what made it.

    FILE is anything that spp makes, or a network in safetensors; without one, what is in the current folder. Sizes,
    counts and options are shown, what the file was made from, what was left out, and a run that has not ended yet.
    """
    from sppcli.cli import console
    from sppcli.stages import info

    paths = list(files) or info.default_files()
    found, problems = [], []
    for path in paths:
        try:
            found.append(info.describe(path))
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
