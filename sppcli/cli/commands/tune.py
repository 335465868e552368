"""``spp tune``: options chosen on validation images, from cached maps."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.tuning import GRID


def _grid(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """``c=0.01;0.1`` as the values to try of ``c``; options that are not named are not varied."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        tried = tuple(_plain(value.strip()) for value in values.split(";") if value.strip())
        if name not in GRID or not equals or not tried:
            raise click.BadParameter(
                f"{text!r} is not an option with values, such as 'c=0.01;0.1'; the options are {', '.join(GRID)}.",
                context,
                parameter,
            )
        found[name] = tried
    return {name: found[name] for name in GRID if name in found} or dict(GRID)


def _plain(value: str) -> str:
    """One number in the one way that it is compared in."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


@helpful.command("tune")
@click.option(
    "--grid",
    multiple=True,
    callback=_grid,
    metavar="NAME=VALUE;VALUE",
    show_default="pyramid, c and nms, four or five values of each",
    help="Values to try of an option: 'c=0.01;0.1'. Options that are not named stay as they are.",
)
@options.split("train")
@click.option("--validation", default="val", metavar="NAME", help="Split that the values are compared on.")
@click.option(
    "--protocol",
    type=click.Choice(["voc2007", "voc2010"]),
    default="voc2010",
    help="Average precision that is compared: voc2010 is the area under the curve.",
)
@click.option("--write/--no-write", default=True, help="Write what was better into spp.toml.")
@click.option("--keep", is_flag=True, help="Keep the models of all trials, in tune/.")
@options.as_json
@options.verbosity
@click.pass_context
def command(
    context: click.Context,
    grid: dict[str, tuple[str, ...]],
    split: str,
    validation: str,
    protocol: str,
    write: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Choose pyramid, C and NMS on validation images, from cached maps.

    Starting from the options of this folder, one option after the other is varied: SVMs and box regression are trained
    on --split and evaluated on --validation, never on the test images. features.h5 has to be there. Interrupted, the
    next run goes on from the models in tune/.
    """
    from sppcli.cli import config, console, tuning
    from sppcli.cli.settings_file import changed

    root = context.find_root()
    start = _start(root)
    folder = Path("tune")
    folder.mkdir(exist_ok=True)
    tuner = tuning.Tuner(root, folder, split, validation, protocol)
    rows: list[tuple[str, tuning.Trial]] = []
    with console.progress("tune") as progress:
        progress.start(tuning.trials_of(grid), "trials")

        def tried(option: str, trial: tuning.Trial) -> None:
            rows.append((option, trial))
            progress.note(f"mAP {trial.score:.4f} with {_text(trial.values)}")
            progress.advance()

        best = tuning.search(tuner.score, start, grid, tried)
    if not keep:
        shutil.rmtree(folder)
    gains = {name: value for name, value in best.values.items() if value != start[name]}
    if as_json:
        trials = [{**trial.values, "mAP": trial.score} for _, trial in rows]
        console.print_json({"start": start, "best": best.values, "mAP": best.score, "trials": trials})
    else:
        table = [(name or "(start)", *trial.values.values(), f"{trial.score:.4f}") for name, trial in rows]
        console.table(("varied", *start, "mAP"), table)
        before = rows[0][1].score
        console.echo(f"best: {_text(best.values)}, mAP {best.score:.4f} on {validation}, {best.score - before:+.4f}")
    if write and gains:
        values = [
            (section, name, value if name == "pyramid" else float(value))
            for name, value in gains.items()
            for section in tuning.SECTIONS[name]
        ]
        text = config.FILE.read_text(encoding="utf-8") if config.FILE.exists() else ""
        config.FILE.write_text(changed(text, values), encoding="utf-8")
        config.read_file(_group(root))
        console.say(f"tune: written to {config.FILE}; 'spp run' trains with it")


def _group(root: click.Context) -> click.Group:
    assert isinstance(root.command, click.Group)
    return root.command


def _start(root: click.Context) -> dict[str, str]:
    """The values that the options have in this folder."""
    from sppcli.cli import chain
    from sppcli.cli.types import IntList
    from sppcli.paper import RECIPES

    svm, detect = (step.values for step in chain.steps(root, ["train-svm", "detect"]))
    c = RECIPES[svm["recipe"]].c if svm["c"] is None else svm["c"]
    nms = RECIPES[detect["recipe"]].nms if detect["nms"] is None else detect["nms"]
    levels = svm["pyramid"] or RECIPES[svm["recipe"]].pyramid
    return {"pyramid": IntList.text(levels), "c": f"{c:g}", "nms": f"{nms:g}"}


def _text(values: object) -> str:
    assert isinstance(values, dict)
    return ", ".join(f"{name} {value}" for name, value in values.items())
