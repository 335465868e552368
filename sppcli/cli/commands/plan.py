"""``spp plan``: hours, disk, network and memory of a run over many images, from a sample of them on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList
from sppcli.paper import DEFAULT
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.bench.plan import Forecast, Rates, Run
    from sppcli.runtime.progress import Progress

_ONE_CORE = """
import sys
from sppcli.cli.main import main
from sppcli.runtime.cpus import cpu_threads, share_processors
share_processors(cpu_threads())
sys.exit(main(sys.argv[1:]))
"""


@helpful.command("plan")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(min=1), required=True, metavar="N", help="Number of images in all.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Number of workers: processes with a core of their own each.",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of GPUs like the one here, on which networks run, one worker on each.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=4),
    default=24,
    metavar="N",
    help="Number of images of SOURCE to measure on.",
)
@click.option("--weights", default="imagenet", metavar="imagenet|FILE", help="Weights of the network for spp extract.")
@click.option("--backbone", metavar="NAME", help="Backbone of the network.  [default: as of spp extract]")
@click.option(
    "--scales",
    type=IntList(),
    default=IntList.text(DEFAULT.scales),
    metavar="NUMBERS",
    help="Lengths in pixels that spp extract resizes the shorter side to.",
)
@click.option(
    "--mode",
    type=click.Choice(["fast", "quality", "single"]),
    default=DEFAULT.mode,
    help="Selective Search's mode for spp propose.",
)
@options.as_json
@options.verbosity
def command(
    sources: tuple[Path, ...],
    images: int,
    workers: int,
    gpus: int | None,
    sample: int,
    weights: str,
    backbone: str | None,
    scales: tuple[int, ...],
    mode: str,
    as_json: bool,
) -> None:
    """Forecast what spp propose and spp extract take for many images on many workers.

    Both stages run on a sample of SOURCE here, one process on one core (with --gpus, networks on the GPU), over a third
    of it and over all of it. From the processor's times (with --gpus, those of the clock) follow the seconds before the
    first image and for each one. Other processors than those here are not known, nor whether disks and network can
    move what is to be moved.
    """
    from sppcli.bench.plan import forecast
    from sppcli.cli import console

    _check_gpu(gpus)
    with console.progress("plan") as progress, tempfile.TemporaryDirectory(prefix="spp-plan-") as folder:
        found = _sample(sources, sample)
        extract = ["--weights", _placed(weights), "--scales", IntList.text(scales)]
        extract += ["--backbone", backbone] if backbone else []
        extract += ["--device", "cuda" if gpus else "cpu"]
        rates = _measure(Path(folder), found, ["--mode", mode], extract, bool(gpus), progress)
    forecasts = [forecast(item, images, gpus if gpus and item.stage == "extract" else workers) for item in rates]
    if as_json:
        console.print_json(
            {"rates": [asdict(item) for item in rates], "forecasts": [asdict(item) for item in forecasts]}
        )
        return
    console.echo(f"{count_of(images, 'image')}, measured on {len(found)} of them here:\n")
    _print(forecasts)


def _check_gpu(gpus: int | None) -> None:
    if gpus is None:
        return
    import torch

    from sppcli.errors import MissingInput

    if not torch.cuda.is_available():
        raise MissingInput("--gpus: there is no GPU here to measure on; run spp plan on a machine that has one")


def _placed(weights: str) -> str:
    return weights if weights == "imagenet" else str(Path(weights).absolute())


def _sample(sources: tuple[Path, ...], count: int) -> list[Path]:
    """``count`` images at equal distances in the list of all."""
    from sppcli.datasets import open_dataset

    found = [item.path for item in open_dataset(sources).images]
    count = min(count, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def _measure(
    folder: Path, images: list[Path], propose: list[str], extract: list[str], by_clock: bool, progress: Progress
) -> list[Rates]:
    """Run both stages on a third of ``images`` and on all of them; ``by_clock``: extract, whose work is a GPU's."""
    from sppcli.bench.plan import Rates

    counts = sorted({max(1, len(images) // 3), len(images)})
    proposing, extracting = [], []
    progress.start(2 * len(counts) + 1, "runs")
    for count in (1, *counts):
        place = folder / str(count)
        (place / "images").mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(images[:count]):
            shutil.copyfile(path, place / "images" / f"{i:06d}{path.suffix}")
        run = _spp(place, count, ["propose", "images", "-j", "1", *propose, "--force"])
        progress.advance()
        if count == 1 and count not in counts:
            continue  # what is compiled or cached from now on was neither
        proposing.append(run)
        extracting.append(_spp(place, count, ["extract", *extract, "--force"], by_clock))
        progress.advance()
    last = folder / str(len(images))
    size = sum(path.stat().st_size for path in images) / len(images)
    made = {name: (last / f"{name}.h5").stat().st_size / len(images) for name in ("proposals", "features")}
    # propose reads each image twice: to know it, and to search it.
    return [
        Rates.of("propose", proposing, 2 * size, made["proposals"], True),
        Rates.of("extract", extracting, size + made["proposals"], made["features"], True),
    ]


def _spp(folder: Path, images: int, arguments: list[str], by_clock: bool = False) -> Run:
    """A command in a process of its own on one core, timed by what it uses of the processor, or by the clock.

    Raises:
        SppError: it failed; the text is the command's own.
    """
    from sppcli.bench.plan import Run
    from sppcli.errors import SppError

    log = folder / "log"
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _ONE_CORE, *arguments, "-q"], cwd=folder, env=environment, stdout=file, stderr=file
        )
        # subprocess would tell how it ended, and not what it took.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started if by_clock else used.ru_utime + used.ru_stime
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
        raise SppError(f"a run of spp {arguments[0]} on the sample failed: {said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(images, seconds, used.ru_maxrss * unit)


def _print(forecasts: list[Forecast]) -> None:
    from sppcli.cli import console
    from sppcli.stages.info import size_text

    headers = ("stage", "workers", "shards", "hours", "hours of work", "disk", "more meanwhile", "moved", "memory each")
    rows = [
        (
            item.stage,
            item.workers,
            item.shards,
            f"{item.hours:.3g}",
            f"{item.work:.3g}",
            size_text(int(item.disk)),
            size_text(int(item.scratch)),
            f"{size_text(int(item.network))}/s",
            size_text(item.memory),
        )
        for item in forecasts
    ]
    console.table(headers, rows)
