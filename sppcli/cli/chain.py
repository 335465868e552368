"""The stages of ``spp run``: what is to do, how long it will take, and doing it, in this process.

Each stage is its own command with the options that `spp.toml` and the environment give it, so that ``spp extract``
typed by hand does the same.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sppcli.cli.options import STAGE, STEP, VERBOSITY
from sppcli.runtime.counts import count_of
from sppcli.runtime.rates import Forecast, Measured, PeakMemory, Rates

if TYPE_CHECKING:
    from sppcli.stages.plan import DataSize

OUTPUTS = {"detect": Path("detections.h5")}
"""Of commands whose ``-o`` has no default."""
_FILES = ("proposals", "features", "svm", "bbox", "network", "detections")


@dataclass(frozen=True)
class Step:
    """One stage: its options as click took them, the file it makes (None: it prints) and those it reads."""

    name: str
    values: Mapping[str, Any]
    output: Path | None
    inputs: tuple[Path, ...]


@dataclass(frozen=True)
class Row:
    """What is said of a step beforehand. ``state``: to do, each time, up to date, or there (not asked)."""

    step: Step
    state: str
    kind: str
    units: float
    forecast: Forecast


@dataclass(frozen=True)
class Done:
    """A step that has been run: ``worked``: it made its output anew; ``bytes`` of the output."""

    step: Step
    seconds: float
    worked: bool
    bytes: int
    forecast: float | None


def steps(root: click.Context, stages: Sequence[str]) -> list[Step]:
    """The stages with their options.

    Raises:
        click.UsageError: no such command, or options that it refuses.
    """
    group = root.command
    assert isinstance(group, click.Group)
    found = []
    for name in stages:
        command = group.get_command(root, name)
        if command is None or name == "run":
            wrong = "spp run cannot be" if command else f"No such command {name!r}"
            raise click.UsageError(f"{wrong} in the stages to run.", root)
        with command.make_context(name, [], parent=root) as inner:
            found.append(_step(name, inner.params))
    return found


def _step(name: str, values: Mapping[str, Any]) -> Step:
    output = values.get("output") or OUTPUTS.get(name)
    files = tuple(path for key in _FILES if isinstance(path := values.get(key), Path))
    return Step(name, dict(values), output, (*_relevant(values, files), *_READ_IF_THERE.get(name, ())))


def _relevant(values: Mapping[str, Any], files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Without features and SVMs, which a network stands in for."""
    return (
        tuple(path for path in files if path not in (values.get("features"), values.get("svm")))
        if values.get("network")
        else files
    )


def foretell(context: click.Context, share: float = 1.0) -> None:
    """Say how long the command of ``context`` would take, as far as its proposals say what it would work on.

    ``share``: of its work that there is to do.
    """
    from sppcli.artefacts.proposals import none_of_them, read_proposals
    from sppcli.cli import console
    from sppcli.cli.meter import about, size_text
    from sppcli.errors import SppError
    from sppcli.stages.plan import look_at

    step = _step(str(context.info_name), context.params)
    if step.name not in _USUAL:
        return
    try:
        sources = step.values.get("sources") or read_proposals(step.values["proposals"], none_of_them).sources
        size = look_at(Path(sources[0]))
    except SppError:
        return
    rates = Rates()
    kind, units = _work(step, size, _network(context.find_root()))
    units *= share
    found = rates.forecast(step.name, kind, units) or _usual(step, units)
    disk = f", {size_text(found.disk)} of disk" if found.disk else ""
    console.say(
        f"about {about(found.seconds)}, {size_text(found.memory)} of memory{disk} ({certainty(rates, found.known)})"
    )


def run_step(root: click.Context, step: Step, number: int, of: int, row: Row | None, rates: Rates) -> Done:
    """Run one stage, printing what it prints, and keep what it took if it did the whole of its work."""
    group = root.command
    assert isinstance(group, click.Group)
    command = group.get_command(root, step.name)
    assert command is not None
    root.meta[STEP], root.meta[STAGE] = f"{number}/{of}", step.name
    before, resumed = _identity(step.output), _unfinished(step.output)
    peak, begun = PeakMemory(), time.monotonic()
    try:
        with command.make_context(step.name, [], parent=root) as inner:
            command.invoke(inner)
    finally:
        root.meta.pop(STEP, None)
    root.meta.pop(STAGE, None)
    seconds = time.monotonic() - begun
    after = _identity(step.output)
    worked = step.output is None or before != after
    size = step.output.stat().st_size if step.output and step.output.is_file() else 0
    forecast = row.forecast.seconds if row else None
    if row and worked and not resumed and (before is None or step.name not in _REUSING):
        kept = forecast if row.forecast.known else None
        rates.add(Measured(rates.here, step.name, row.kind, row.units, seconds, peak.bytes(), size, kept))
    return Done(step, seconds, worked, size, forecast)


_REUSING = ("propose", "extract")
"""Stages that take over what an earlier output has, so that their time says nothing if there was one."""


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What changes when a file is replaced, and not when it only gets today's time."""
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_size


def _unfinished(path: Path | None) -> bool:
    """Whether an earlier run has left parts or shards of the file, or a checkpoint of its training."""
    from sppcli.artefacts.parts import parts_folder
    from sppcli.runtime.files import checkpoint_of
    from sppcli.runtime.remote import shards_folder

    return path is not None and any(left(path).exists() for left in (parts_folder, shards_folder, checkpoint_of))


def plan(root: click.Context, chain: Sequence[Step], size: DataSize, rates: Rates, ask: bool = False) -> list[Row]:
    """What is to do, as the times of the files say; with ``ask`` each stage whose output is there is asked too."""
    rows: list[Row] = []
    network = _network(root)
    redone: set[Path] = set()
    for step in chain:
        stale = any(path in redone or not path.exists() for path in step.inputs if path not in _OPTIONAL)
        stale = stale or any(path in redone for path in step.inputs)
        if step.output is None or step.name in _EACH_TIME:
            state = "each time"
        elif not step.output.exists() or stale or (_would_work(root, step) if ask else _is_older(step)):
            state = "to do"
            redone.add(step.output)
        else:
            state = "up to date" if ask else "there"
        kind, units = _work(step, size, network)
        rows.append(Row(step, state, kind, units, rates.forecast(step.name, kind, units) or _usual(step, units)))
    return rows


def _is_older(step: Step) -> bool:
    return step.output is not None and any(_newer(path, step.output) for path in step.inputs)


def _would_work(root: click.Context, step: Step) -> bool:
    """Whether the stage says so, which prints nothing and changes nothing."""
    from sppcli.artefacts.output import WouldWork, only_asking

    try:
        with only_asking():
            quietly(root, step.name, [])
    except WouldWork:
        return True
    return False


def quietly(root: click.Context, name: str, arguments: Sequence[str]) -> str:
    """Run a command with ``arguments`` and return what it printed; messages and warnings are dropped."""
    from sppcli.cli import console

    group = root.command
    assert isinstance(group, click.Group)
    command = group.get_command(root, name)
    assert command is not None
    # It gives standard output back when it ends, and that must not be in the midst of what is caught here.
    console.end_waiting()
    before = root.meta.get(VERBOSITY)
    root.meta[STAGE], root.meta[VERBOSITY] = name, -1
    printed = io.StringIO()
    try:
        streams = (redirect_stdout(printed), redirect_stderr(io.StringIO()))
        with streams[0], streams[1], command.make_context(name, list(arguments), parent=root) as inner:
            command.invoke(inner)
    finally:
        root.meta.pop(VERBOSITY)
        if before is not None:
            root.meta[VERBOSITY] = before
    root.meta.pop(STAGE)
    return printed.getvalue()


_OPTIONAL = (Path("bbox.h5"), Path("calibration.h5"))
"""Files that stages read if they are there."""
_READ_IF_THERE = {"calibrate": _OPTIONAL[:1], "detect": _OPTIONAL}
_EACH_TIME = ("evaluate", "report")
"""Stages that do their work whatever is there."""


def _newer(path: Path, than: Path) -> bool:
    return path.exists() and path.stat().st_mtime > than.stat().st_mtime


def total(rows: Sequence[Row]) -> Forecast:
    """Of the rows that are not there already: time and disk in sum, the largest memory."""
    due = [row.forecast for row in rows if row.state in ("to do", "each time")]
    return Forecast(
        sum(item.seconds for item in due),
        max((item.memory for item in due), default=0),
        sum(item.disk for item in due),
        all(item.known for item in due),
    )


def _network(root: click.Context) -> str:
    """The network whose maps are learnt from, as far as the options of spp extract name it."""
    values = steps(root, ["extract"])[0].values
    return str(values["backbone"] or Path(str(values["weights"])).stem)


def _work(step: Step, size: DataSize, network: str) -> tuple[str, float]:
    """Kind of work, and units of it: megapixels where images are read, images x classes where models are trained.

    ``network``: that of the maps; how long their vectors are decides what SVMs cost.
    """
    values = step.values
    backbone = values.get("backbone") or Path(str(values.get("weights"))).stem
    learning = size.of_split(str(values.get("split", "")))
    ways: dict[str, Callable[[], tuple[str, float]]] = {
        "propose": lambda: (
            f"{'+'.join(values['methods']) or 'selective-search'}, {values['mode']}",
            size.images * size.megapixels,
        ),
        "extract": lambda: (
            f"{backbone}, {values['precision']}",
            size.images * sum(map(size.megapixels_at, _scales(values))) * (1 + values["flip"]),
        ),
        "train-svm": lambda: (
            f"{network}, {values['pyramid']}, {values['layer']}",
            learning * size.classes,
        ),
        "train-bbox": lambda: (
            f"{network}, {values['pyramid']}, {values['layer']}",
            learning * size.classes,
        ),
        "train-detector": lambda: (
            f"{backbone}, from {values['train_from']}",
            learning * values["epochs"] * size.megapixels_at(values["scale"]),
        ),
        "calibrate": lambda: _calibration(values, network, size),
        "detect": lambda: ("network" if values["network"] else network, learning),
    }
    kind, units = ways.get(step.name, lambda: ("", max(1, learning)))()
    # What a cluster takes says nothing of this machine, nor of another cluster.
    return (f"{kind}, cluster {cluster}" if (cluster := values.get("cluster")) else kind), units


def _calibration(values: Mapping[str, Any], network: str, size: DataSize) -> tuple[str, float]:
    """As `_work`: how often is trained anew, and on how much."""
    work = size.of_split("trainval") * size.classes
    if share := values["held_out"]:
        way = f"{share:g} held out"
        return f"network, {way}" if values["network"] else f"{network}, {way}", work
    if values["network"]:
        return "network", size.of_split(str(values["split"] or "val"))
    return f"{network}, {values['folds']} folds", work * (values["folds"] - 1)


def _scales(values: Mapping[str, Any]) -> tuple[int, ...]:
    from sppcli.paper import RECIPES

    return values["scales"] or RECIPES[values["recipe"]].scales


# On two cores of a server: seconds and bytes of disk for each unit, and peak memory in MiB.
_USUAL = {
    "propose": (0.34, 100_000, 300),
    "extract": (0.33, 1_900_000, 1_400),
    "train-svm": (0.13, 350, 1_600),
    "train-bbox": (0.08, 1_400, 2_100),
    "train-detector": (0.6, 0, 2_000),
    "calibrate": (0.2, 100, 2_000),
    "report": (0.2, 40_000, 800),
    "detect": (0.3, 3_000, 1_000),
}


def _usual(step: Step, units: float) -> Forecast:
    """What a machine of two cores takes, on as many as there are here: a first guess."""
    from sppcli.runtime.cpus import cpu_threads

    seconds, disk, memory = _USUAL.get(step.name, (0.02, 0, 500))
    guess = Forecast(seconds * units * 2 / cpu_threads(), memory * 2**20, round(disk * units), False)
    return replace(guess, seconds=guess.seconds + 5)


def certainty(rates: Rates, known: bool) -> str:
    """How far the forecast may be off, in words."""
    error = rates.error()
    if not known:
        return f"not run on this machine by spp run yet; may be off by a factor of three{_beside()}"
    if error is None:
        return f"from earlier runs on this machine; no forecast has been compared with what it took yet{_beside()}"
    share, count = error
    runs = "1 earlier forecast was" if count == 1 else f"{count} earlier forecasts were"
    return f"from earlier runs on this machine; {runs} off by {share:.0%} (median){_beside()}"


def _beside() -> str:
    """What is to be said where other programs keep the machine busy, so that everything takes longer; else ""."""
    from sppcli.runtime.cpus import cpu_threads

    try:
        load = os.getloadavg()[0]
    except OSError:
        return ""
    cores = cpu_threads()
    if load < _BUSY * cores:
        return ""
    return f"; longer while other programs keep this machine busy (load {load:.0f} on {count_of(cores, 'core')})"


_BUSY = 1.5
"""Processes that wait for each core, from which on a forecast is worth a warning."""


def next_commands(chain: Sequence[Step]) -> Iterator[tuple[str, str]]:
    """What to try with what the stages have made."""
    names = [step.name for step in chain]
    if "report" in names:
        yield "report.html", "open it in a browser: what is found, and where it fails"
    if "detect" in names:
        yield "spp show", "detections beside the ground truth -> detections.png"
        yield "spp evaluate --coco", "the figures of COCO"
        yield "spp compare", "this run beside earlier ones"
    if any(name.startswith("train-") for name in names):
        yield "spp detect photo.jpg", "objects in new images"
        yield "spp pack -o model.spp", "the detector as one file to hand over"
    yield "spp config", "the options of spp.toml that made this"
