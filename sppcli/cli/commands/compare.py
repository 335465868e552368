"""``spp compare``: evaluations side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.stages.compare import CompareSummary

_WIDTH = 80
_NAME, _COLUMN = 20, 8


@helpful.command("compare")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=options.FilePath)
@click.option(
    "--last", type=click.IntRange(min=1), default=6, metavar="N", help="Show at most so many runs of a log, the newest."
)
@click.option("--split", metavar="NAME", show_default="that of the newest run", help="Show only runs on this split.")
@click.option(
    "--protocol",
    type=click.Choice(["voc2007", "voc2010", "coco", "ilsvrc"]),
    show_default="that of the newest run",
    help="Show only runs evaluated by these rules.",
)
@options.dataset
@options.as_json
@options.verbosity
def command(
    files: tuple[Path, ...],
    last: int,
    split: str | None,
    protocol: str | None,
    dataset: Path | None,
    as_json: bool,
) -> None:
    """Compare evaluations side by side.

    FILE is a log that spp evaluate has written (runs.jsonl), or detections.h5, which is evaluated for the comparison.
    Without a FILE, runs.jsonl of the current folder is read. Shown are mAP and the AP of each class, and the options
    and inputs that are not the same in all runs.
    """
    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import compare

    config = compare.CompareConfig(last=last, split=split, protocol=protocol, dataset=dataset)
    with console.progress("compare") as progress:
        summary = compare.run(files, config, options=RunOptions(progress=progress))
    if as_json:
        console.print_json(summary)
        return
    _print(summary)
    if summary.left_out:
        left_out = count_of(summary.left_out, "run")
        console.say(f"{left_out} of other splits or protocols left out; --split and --protocol show them")


def _print(summary: CompareSummary) -> None:
    from sppcli.cli import console

    runs = summary.runs
    for number, one in enumerate(runs, 1):
        when = one.date[:16].replace("T", " ")
        console.echo(f"{number:>2}  {when}  {one.detections}, {one.seconds:.1f} s")
    per_block = (_WIDTH - _NAME) // _COLUMN
    rows: list[tuple[str, Sequence[float | None]]] = [
        (name, [one.ap.get(name) for one in runs]) for name in summary.classes
    ]
    for first in range(0, len(runs), per_block):
        block = slice(first, first + per_block)
        headers = ["class", *(str(number) for number in range(first + 1, first + 1 + len(runs[block])))]
        change = len(runs) == 2
        cells = [[_short(name), *map(_shown, values[block]), *_change(values, change)] for name, values in rows]
        means = [one.mAP for one in runs]
        console.echo()
        console.table(
            [*headers, *(["change"] if change else [])],
            cells,
            footer=["mAP", *map(_shown, means[block]), *_change(means, change)],
        )
    if summary.differing:
        console.echo("\nnot the same in all:")
        for name, values in summary.differing.items():
            text = ", ".join(f"{number} {'-' if value is None else value}" for number, value in enumerate(values, 1))
            for line in textwrap.wrap(f"{name}: {text}", _WIDTH - 2, subsequent_indent="    ", break_long_words=False):
                console.echo(f"  {line}")
    one = runs[0]
    console.echo(f"\n{one.protocol}, {one.split}")


def _short(name: str) -> str:
    """A class name that leaves room for the columns."""
    return name if len(name) <= _NAME else f"{name[: _NAME - 6]}...{name[-3:]}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _change(values: Sequence[float | None], wanted: bool) -> list[str]:
    """What the second of two runs adds to the first."""
    if not wanted:
        return []
    old, new = values
    return ["-" if old is None or new is None else f"{new - old:+.4f}"]
