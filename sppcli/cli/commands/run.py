"""``spp run``: the stages of spp.toml, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.meter import about, size_text
from sppcli.cli.spreading import CLUSTER, by_flag
from sppcli.cli.types import NameList

if TYPE_CHECKING:
    from sppcli.cli.chain import Done, Row, Step
    from sppcli.runtime.rates import Rates
    from sppcli.stages.plan import DataSize


@helpful.command("run")
@click.option(
    "--stages",
    type=NameList("propose,extract,train-svm,evaluate"),
    metavar="NAMES",
    show_default="those of spp.toml",
    help="Stages to run, in this order.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, with a forecast of time, memory and disk, and do nothing.",
)
@CLUSTER[0]
@CLUSTER[1]
@options.as_json
@options.verbosity
@click.pass_context
def command(
    context: click.Context,
    stages: tuple[str, ...] | None,
    dry_run: bool,
    cluster: str | None,
    shards: int | None,
    as_json: bool,
) -> None:
    """Make and evaluate the detector of spp.toml: every stage that is out of date.

    Each stage is the command of its name with the options of spp.toml. What is up to date stays; after an interruption
    the next run goes on. The forecast of --dry-run comes from what earlier runs of spp run took on this machine. With
    --cluster the stages that have shards work on its machines, and the others here.
    """
    from sppcli.cli import chain, config, console
    from sppcli.errors import MissingInput
    from sppcli.runtime.rates import Rates

    if as_json and not dry_run:
        raise click.UsageError("--json prints the plan of --dry-run: give both.")
    if stages is None:
        raise MissingInput(f"no {config.FILE} here says which stages to run; 'spp init DATA' writes one")
    root = context.find_root()
    _spread(root, stages, {"cluster": cluster, "shards": shards})
    steps = chain.steps(root, stages)
    rates = Rates()
    size = _size(steps)
    rows = chain.plan(root, steps, size, rates, ask=dry_run) if size else []
    if dry_run:
        _print_plan(rows, rates, as_json)
        return
    if rows:
        whole = chain.total(rows)
        console.say(f"run: {', '.join(stages)}; about {about(whole.seconds)} ({chain.certainty(rates, whole.known)})")
    done = []
    for number, step in enumerate(steps, 1):
        sys.stdout.flush()
        row = rows[number - 1] if rows else None
        done.append(chain.run_step(root, step, number, len(steps), row, rates))
    _print_done(done)


def _spread(root: click.Context, stages: Sequence[str], values: Mapping[str, Any]) -> None:
    """Give ``values`` to the stages that take them: by a flag of this command in place of those of spp.toml, else
    where a stage has none of its own there."""
    group = root.command
    assert isinstance(group, click.Group)
    taken = False
    found = {name: dict(own) for name, own in (root.default_map or {}).items()}
    for name in stages:
        stage = group.get_command(root, name)
        takes = {item.name for item in stage.params} if stage and name != "run" else set()
        for key, value in values.items():
            own = found.setdefault(name, {})
            if key in takes and value is not None and (by_flag(key) or key not in own):
                own[key] = value
                taken = taken or key == "cluster"
    if by_flag("cluster") and not taken:
        raise click.UsageError(f"--cluster: none of the stages to run ({', '.join(stages)}) goes image by image.")
    root.default_map = found


def _size(steps: Sequence[Step]) -> DataSize | None:
    """Of the data that the first stage reads; None if it reads none, and there is nothing to forecast from."""
    from sppcli.stages import plan

    sources = next((step.values["sources"] for step in steps if step.values.get("sources")), None)
    return plan.look_at(Path(sources[0])) if sources else None


def _print_plan(rows: Sequence[Row], rates: Rates, as_json: bool) -> None:
    from sppcli.cli import chain, console
    from sppcli.errors import MissingInput

    if not rows:
        raise MissingInput("no stage reads a data set, so there is nothing to forecast from; name propose in --stages")
    whole = chain.total(rows)
    if as_json:
        stages = [
            {
                "stage": row.step.name,
                "state": row.state,
                "output": row.step.output,
                "seconds": row.forecast.seconds,
                "memory": row.forecast.memory,
                "disk": row.forecast.disk,
                "measured_here": row.forecast.known,
            }
            for row in rows
        ]
        error = rates.error()
        console.print_json(
            {
                "stages": stages,
                "seconds": whole.seconds,
                "memory": whole.memory,
                "disk": whole.disk,
                "error": error[0] if error else None,
                "forecasts_compared": error[1] if error else 0,
            }
        )
        return
    console.table(
        ("stage", "state", "time", "memory", "disk", "file"),
        [_plan_row(row) for row in rows],
        footer=("in all", "", about(whole.seconds), size_text(whole.memory), size_text(whole.disk), ""),
    )
    console.echo(chain.certainty(rates, whole.known))


def _plan_row(row: Row) -> tuple[object, ...]:
    due = row.state in ("to do", "each time")
    return (
        row.step.name,
        row.state,
        about(row.forecast.seconds) if due else None,
        size_text(row.forecast.memory) if due else None,
        size_text(row.forecast.disk) if due and row.forecast.disk else None,
        row.step.output,
    )


def _print_done(done: Sequence[Done]) -> None:
    from sppcli.cli import chain, console
    from sppcli.cli.meter import duration

    rows = [
        (
            item.step.name,
            duration(item.seconds) if item.worked else "up to date",
            about(item.forecast) if item.worked and item.forecast is not None else None,
            item.step.output,
            size_text(item.bytes) if item.bytes else None,
        )
        for item in done
    ]
    console.echo()
    console.table(
        ("stage", "took", "forecast", "file", "size"),
        rows,
        footer=("in all", duration(sum(item.seconds for item in done)), "", "", ""),
    )
    if not any(item.step.name == "evaluate" for item in done):
        console.say("run: not evaluated: spp.toml names no split that was held out, so nothing says how good it is")
    commands = list(chain.next_commands([item.step for item in done]))
    width = max(len(text) for text, _ in commands)
    console.section("next", [f"{text:<{width}}  {what}" for text, what in commands], apart=True)
