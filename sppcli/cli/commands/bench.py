"""``spp bench``: how long things take here, beside what arithmetic and memory allow and what others take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.cli.commands.bench_rcnn import rcnn
from sppcli.cli.types import NameList

if TYPE_CHECKING:
    from sppcli.bench.everything import BenchReport
    from sppcli.bench.measure import Machine


@click.group("bench", cls=helpful.HelpfulGroup, invoke_without_command=True)
@click.option(
    "--only",
    type=NameList("conv,pool"),
    metavar="PARTS",
    help="Measure only these parts, for example conv,pool.",
)
@options.as_json
@options.verbosity
@click.pass_context
def command(context: click.Context, only: tuple[str, ...] | None, as_json: bool) -> None:
    """Measure how long each stage takes on this machine.

    Each line of the table is a stage on an input of real size. It is compared with another program on the same input in
    this run. Its floor is the time that no program can go below: multiply-adds divided by the measured rate of matrix
    products, or bytes divided by that of copies. 'over' is the measured time divided by the floor, 'faster' the
    other program's time divided by ours. The whole takes a few minutes.
    """
    if context.invoked_subcommand is not None:
        if only or as_json:
            flag = "--only" if only else "--json"
            raise click.UsageError(f"{flag} before {context.invoked_subcommand!r} is of 'spp bench' alone.")
        return
    from sppcli.bench import everything
    from sppcli.cli import console

    with console.progress("bench") as progress:
        report = everything.run(only, progress=progress)
    if as_json:
        console.print_json(report)
    else:
        _print(report)


command.add_command(rcnn)


def _print(report: BenchReport) -> None:
    from sppcli.cli import console

    console.echo(_rates(report.machine) + "\n")
    rows = [(item, item.row) for item in report.measurements]
    console.table(
        ("stage", "on", "took", "floor", "over", "against", "theirs", "faster"),
        [
            (
                row.stage,
                row.what,
                _time(row.seconds),
                _time(row.floor),
                _ratio(item.over_floor),
                row.peer or None,
                _time(row.peer_seconds),
                _ratio(item.faster_than_peer),
            )
            for item, row in rows
        ],
    )
    floors = dict.fromkeys((row.stage, row.floor_of) for _, row in rows if row.floor_of)
    console.sheet("floor", list(floors), apart=True)


def _rates(machine: Machine) -> str:
    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    products = ", ".join(f"{rate / 1e9:,.0f} ({name})" for name, rate in machine.products.items())
    return f"{threads}: {products} billion multiply-adds/s, {machine.copies / 1e9:.1f} GB/s copied"


def _time(seconds: float | None) -> str | None:
    """Three digits, in seconds or milliseconds; None where nothing was measured."""
    if seconds is None:
        return None
    value, unit = (seconds, "s") if seconds >= 1 else (1000 * seconds, "ms")
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _ratio(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
