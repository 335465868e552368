"""``spp plan``: hours, disk, network and memory of a run over many images, from a sample of them on this machine."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList
from sppcli.paper import DEFAULT
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.bench.plan import Forecast


@helpful.command("plan")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=options.FilePath)
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
    help="Number of images of SOURCE to measure on; more are taken where they take less than three seconds.",
)
@click.option(
    "--weights",
    type=options.Weights,
    default="imagenet",
    metavar="imagenet|FILE",
    help="Weights of the network for spp extract.",
)
@click.option("--backbone", metavar="NAME", show_default="that of spp extract", help="Backbone of the network.")
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

    Both stages run on a sample of SOURCE here, as a cluster's workers do, in processes on one core each (with --gpus,
    networks on the GPU): as many as there will be workers, or cores here. From the processor's times (with --gpus,
    those of the clock) follow the seconds to start, for each shard, for each image, and for merging. Other processors
    than those here are not known, nor whether disks and network can move what is to be moved.
    """
    from sppcli.bench.plan import forecast
    from sppcli.bench.plan_sample import measure, sample_of
    from sppcli.cli import console

    _check_gpu(gpus)
    with console.progress("plan") as progress, tempfile.TemporaryDirectory(prefix="spp-plan-") as folder:
        extract = ["--weights", _placed(weights), "--scales", IntList.text(scales)]
        extract += ["--backbone", backbone] if backbone else []
        extract += ["--device", "cuda" if gpus else "cpu"]
        found = measure(
            Path(folder),
            sample_of(sources),
            sample,
            {"propose": ["--mode", mode], "extract": extract},
            workers=workers,
            by_clock=bool(gpus),
            progress=progress,
        )
    forecasts = [forecast(item, images, gpus if gpus and item.stage == "extract" else workers) for item in found.rates]
    if as_json:
        console.print_json(
            {
                "sample": found.images,
                "beside": found.beside,
                "rates": [asdict(item) for item in found.rates],
                "forecasts": [asdict(item) for item in forecasts],
            }
        )
        return
    beside = count_of(found.beside, "process", "processes")
    console.echo(f"{count_of(images, 'image')}, measured on {found.images} of them here, in {beside}:\n")
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


def _print(forecasts: list[Forecast]) -> None:
    from sppcli.cli import console
    from sppcli.stages.info import size_text

    headers = (
        "stage",
        "workers",
        "shards",
        "hours",
        "hours of work",
        "merging",
        "disk",
        "more meanwhile",
        "moved",
        "memory each",
    )
    rows = [
        (
            item.stage,
            item.workers,
            item.shards,
            f"{item.hours:.3g}",
            f"{item.work:.3g}",
            f"{item.merging:.2g}",
            size_text(int(item.disk)),
            size_text(int(item.scratch)),
            f"{size_text(int(item.network))}/s",
            size_text(item.memory),
        )
        for item in forecasts
    ]
    console.table(headers, rows)
