"""``spp tune``: options chosen on validation images, from cached maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.cli.tuning import FLAGS, GRID, OPTIONS

if TYPE_CHECKING:
    from sppcli.cli.tuning import Effect, Trial
    from sppcli.stages.calibrate import CalibrateSummary


def _grid(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """``c=0.01;0.1`` as the values to try of ``c``; options that are not named are not varied."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        tried = tuple(_plain(value.strip()) for value in values.split(";") if value.strip())
        if name not in OPTIONS or not equals or not tried:
            raise click.BadParameter(
                f"{text!r} is not an option with values, such as 'c=0.01;0.1'; the options are {', '.join(OPTIONS)}.",
                context,
                parameter,
            )
        if name in FLAGS and not set(tried) <= set(FLAGS[name]):
            raise click.BadParameter(f"{text!r}: {name} is no or yes.", context, parameter)
        found[name] = tried
    return {name: found[name] for name in OPTIONS if name in found} or dict(GRID)


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
    help=(
        f"Values to try of an option, such as 'c=0.01;0.1'. The options are {', '.join(list(OPTIONS)[:-1])} and "
        f"{list(OPTIONS)[-1]}; those that are not named stay as they are. flip is no or yes, and features are files of "
        "spp extract with other backbones or layers."
    ),
)
@options.split("train")
@click.option("--validation", default="val", metavar="NAME", help="Split that the values are compared on.")
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    metavar="K",
    help="Cross-validate over K parts of --split, in place of --validation. It takes K + 1 trainings for each trial.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Train each trial with N seeds and compare their means; differences below the deviation may be chance.",
)
@click.option(
    "--protocol",
    type=click.Choice(["voc2007", "voc2010"]),
    default="voc2010",
    help="Average precision that is compared: voc2010 is the area under the curve.",
)
@click.option("--plot", type=options.OutputPath, metavar="FILE.png", help="Draw mAP against the values of each option.")
@click.option("--write/--no-write", default=True, help="Write what was better into spp.toml.")
@click.option("--keep", is_flag=True, help="Keep the models of all trials, in tune/.")
@options.overwrite
@options.as_json
@options.verbosity
@click.pass_context
def command(
    context: click.Context,
    grid: dict[str, tuple[str, ...]],
    split: str,
    validation: str,
    folds: int | None,
    seeds: int,
    protocol: str,
    plot: Path | None,
    write: bool,
    keep: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Choose pyramid, C, NMS and more on validation images, from cached maps.

    Starting from the options of this folder, one option after the other is varied: SVMs and box regression are trained
    on --split and evaluated on --validation, or in --folds, never on the test images. features.h5 has to be there.
    Interrupted, the next run goes on from the models in tune/. At the end the threshold of each class with the best F1
    on these images is shown; spp calibrate chooses those of the detector itself.
    """
    from sppcli.cli import console, tuning

    root = context.find_root()
    start, seed = _start(root, grid)
    _check(root, split, validation, bool(folds))
    if plot:
        _claim(plot, overwrite)
    folder = Path("tune")
    folder.mkdir(exist_ok=True)
    every = tuple(range(seed, seed + seeds))
    tuner = tuning.Tuner(root, folder, split, validation, protocol, folds or 0, every)
    rows: list[tuple[str, Trial]] = []
    with console.progress("tune") as progress:
        progress.start(tuning.trials_of(grid), "trials")

        def tried(option: str, trial: Trial) -> None:
            rows.append((option, trial))
            progress.note(f"mAP {trial.score:.4f} with {_text(trial.values)}")
            progress.advance()

        best = tuning.search(tuner.score, start, grid, tried, tuner.spread)
    thresholds = tuner.calibrated(best.values, seed)
    if not keep:
        shutil.rmtree(folder)
    found = tuning.effects(rows)
    where = f"{folds} folds of {split}" if folds else validation
    if plot:
        _draw(plot, found, f"mAP ({protocol}) on {where}")
    if as_json:
        console.print_json(_json(start, best, rows, found, thresholds, every))
    else:
        _print(rows, best, found, thresholds, where)
    gains = {name: value for name, value in best.values.items() if value != start[name]}
    if write and gains:
        _write(root, gains)


def _write(root: click.Context, gains: dict[str, str]) -> None:
    from sppcli.cli import config, console, tuning
    from sppcli.cli.settings_file import changed

    values = [
        (section, name, tuning.in_toml(name, value))
        for name, value in gains.items()
        for section in OPTIONS[name].commands
    ]
    text = config.FILE.read_text(encoding="utf-8") if config.FILE.exists() else ""
    config.FILE.write_text(changed(text, values), encoding="utf-8")
    config.read_file(_group(root))
    console.say(f"tune: written to {config.FILE}; 'spp run' trains with it")


def _print(
    rows: list[tuple[str, Trial]], best: Trial, found: list[Effect], thresholds: CalibrateSummary, where: str
) -> None:
    from sppcli.cli import console

    several = best.spread is not None
    start = rows[0][1]
    table = [
        (name or "(start)", *trial.values.values(), f"{trial.score:.4f}", *([f"{trial.spread:.4f}"] if several else []))
        for name, trial in rows
    ]
    console.table(("varied", *start.values, "mAP", *(["deviation"] if several else [])), table)
    console.echo()
    console.table(
        ("what mattered", "mAP lowest", "highest", "difference", "best value"),
        [
            (
                one.option,
                *(f"{pick(s for _, s, _ in one.points):.4f}" for pick in (min, max)),
                f"{one.size:.4f}",
                one.chosen,
            )
            for one in found
        ],
    )
    console.echo()
    console.table(
        ("class", "threshold", "precision", "recall", "F1", "objects"),
        [
            (row.name, *(_shown(value) for value in (row.threshold, row.precision, row.recall, row.f1)), row.objects)
            for row in thresholds.classes
        ],
    )
    gain = best.score - start.score
    console.echo(f"best: {_text(best.values)}, mAP {best.score:.4f} on {where}, {gain:+.4f}")
    if best.spread is None:
        console.say("tune: one seed: small differences may be chance; --seeds 3 shows how much mAP varies")
    elif 0 < gain < best.spread:
        console.warn(f"the gain is smaller than the deviation over seeds, {best.spread:.4f}: it may be chance")


def _shown(value: float | None) -> str:
    return "-" if value is None or value == float("inf") else f"{value:.3f}"


def _json(
    start: dict[str, str],
    best: Trial,
    rows: list[tuple[str, Trial]],
    found: list[Effect],
    thresholds: CalibrateSummary,
    seeds: tuple[int, ...],
) -> dict[str, object]:
    return {
        "start": start,
        "best": best.values,
        "mAP": best.score,
        "seeds": seeds,
        "trials": [{**trial.values, "mAP": trial.score, "deviation": trial.spread} for _, trial in rows],
        "effects": {one.option: one.size for one in found},
        "thresholds": {
            row.name: {"threshold": row.threshold, "precision": row.precision, "recall": row.recall, "f1": row.f1}
            for row in thresholds.classes
        },
    }


def _claim(plot: Path, overwrite: bool) -> None:
    from sppcli.artefacts.overwriting import PICTURE, claim
    from sppcli.errors import BadInput

    if plot.suffix.lower() != ".png":
        raise BadInput(f"{plot}: the plot is a PNG; give it a name that ends in .png")
    claim(plot, PICTURE, overwrite=overwrite)


def _draw(plot: Path, found: list[Effect], title: str) -> None:
    from sppcli.cli import console
    from sppcli.report.tune_plot import draw_effects

    draw_effects(plot, [(one.option, one.points, one.chosen) for one in found], title)
    console.say(f"tune: drawn into {plot}")


def _check(root: click.Context, split: str, validation: str, folds: bool) -> None:
    """Refuse to choose on the images of the test, or on those that are trained on."""
    from sppcli.cli import chain
    from sppcli.detection.held_out import TEST
    from sppcli.detection.split import open_images
    from sppcli.errors import MissingInput, UsageProblem

    values = chain.steps(root, ["train-svm"])[0].values
    data = open_images(values["proposals"], split, values["dataset"]).dataset
    used = set(data.split(split))
    try:
        test = set(data.split(TEST))
    except MissingInput:
        test = set()
    chosen_on = used if folds else set(data.split(validation))
    for name, images in ((TEST, test), *([] if folds else [(split, used)])):
        if both := chosen_on & images:
            here = f"--split {split}" if folds else f"--validation {validation}"
            what = "nothing may be chosen on those" if name == TEST else "they are trained on"
            raise UsageProblem(
                f"{len(both)} images of {here} are in split {name}, the first {min(both)}: {what}; name another split"
            )


def _group(root: click.Context) -> click.Group:
    assert isinstance(root.command, click.Group)
    return root.command


def _start(root: click.Context, grid: dict[str, tuple[str, ...]]) -> tuple[dict[str, str], int]:
    """The values that the options have in this folder, and the seed."""
    from sppcli.cli import chain
    from sppcli.cli.types import IntList
    from sppcli.paper import RECIPES

    svm, detect = (step.values for step in chain.steps(root, ["train-svm", "detect"]))
    c = RECIPES[svm["recipe"]].c if svm["c"] is None else svm["c"]
    nms = RECIPES[detect["recipe"]].nms if detect["nms"] is None else detect["nms"]
    levels = _levels(svm["features"], svm["pyramid"])
    if svm["flip"] and "no" in grid.get("flip", ()):
        raise click.UsageError("flip is set in this folder, and cannot be tried without; take it out of spp.toml.")
    now = {
        "features": str(svm["features"]),
        "layer": svm["layer"] or "pool5",
        "pyramid": IntList.text(levels),
        "flip": "yes" if svm["flip"] else "no",
        "jitter": str(svm["jitter"]),
        "c": f"{c:g}",
        "nms": f"{nms:g}",
    }
    return {name: value for name, value in now.items() if name in GRID or name in grid}, int(svm["seed"])


def _levels(features: Path, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """The pyramid that spp train-svm takes: the one given, or that of the network of ``features``."""
    from sppcli.artefacts.features import open_features
    from sppcli.detection.training_plan import choose_levels
    from sppcli.paper import DEFAULT

    with open_features(features, lazily=True) as found:
        return given or DEFAULT.pyramid if found.rcnn else choose_levels(found.network, "pool5", given, None)


def _text(values: object) -> str:
    assert isinstance(values, dict)
    return ", ".join(f"{name} {value}" for name, value in values.items())
