"""``spp bench rcnn``: SPP-net against R-CNN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sppcli.cli import options
from sppcli.paper import DEFAULT

if TYPE_CHECKING:
    from sppcli.bench.rcnn import BenchSummary


@click.command("rcnn")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@click.option(
    "--net",
    metavar="NAME",
    show_default="zf5, unless --weights or --backbone is given",
    help="A network with random weights, which take the same time: zf5, convnet5, overfeat5, overfeat7, tiny, or a "
    "backbone.",
)
@options.network
@click.option(
    "--scales",
    type=options.IntList(),
    multiple=True,
    show_default=f"688 and {options.IntList.text(DEFAULT.scales)}",
    help="SPP-net's; give it again to measure another set.",
)
@click.option("--windows", type=click.IntRange(min=1), default=2000, show_default=True, metavar="N", help="An image.")
@click.option(
    "--rcnn-windows",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="N",
    help="R-CNN is measured on so many of them and scaled up.",
)
@click.option(
    "--context",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    metavar="PIXELS",
    help="Around R-CNN's windows, see spp extract.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="N",
    help="Windows at once, R-CNN's through the network and both methods' through the fc layers.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Of so many runs the fastest counts.",
)
@options.seed
@options.as_json
@options.verbosity
def rcnn(
    images: tuple[Path, ...],
    net: str | None,
    backbone: str | None,
    weights: str,
    cut: str | None,
    reads: str | None,
    precision: str,
    device: str,
    scales: tuple[tuple[int, ...], ...],
    windows: int,
    rcnn_windows: int,
    context: int,
    batch: int,
    repeat: int,
    seed: int,
    as_json: bool,
) -> None:
    """SPP-net against R-CNN: seconds and multiply-adds an image, from the image to the last fc layer.

    Both have the same windows, drawn at random, network, precision and fc layers. Without IMAGEs one of 500 x 375
    random pixels is used.
    """
    from sppcli.bench import rcnn as bench
    from sppcli.cli import console

    source = click.get_current_context().get_parameter_source
    trained = [
        flag
        for name, flag in (("weights", "weights"), ("backbone", "backbone"), ("cut", "cut"), ("reads", "input"))
        if source(name) is ParameterSource.COMMANDLINE
    ]
    if net and trained:
        raise click.UsageError(f"--net and --{trained[0]} exclude each other.")
    plain = bench.BenchConfig()
    config = bench.BenchConfig(
        net or (None if trained else plain.net),
        weights,
        backbone,
        cut,
        reads,
        precision,
        device,
        scales or plain.scales,
        windows,
        rcnn_windows,
        context=context,
        batch=batch,
        repeat=repeat,
        seed=seed,
    )
    with console.progress("bench rcnn") as progress:
        summary = bench.run(images, config, progress=progress)
    if as_json:
        console.print_json(summary)
    else:
        _print(summary)


def _print(summary: BenchSummary) -> None:
    from sppcli.cli import console

    names = [f"{row.method}{' ' + options.IntList.text(row.scales) if row.scales else ''}" for row in summary.rows]
    phases = list(summary.rows[0].cost.seconds)
    console.table(
        ("seconds an image", *phases, "total", "conv x", "total x"),
        [
            (
                name,
                *(f"{row.cost.seconds[phase]:.3f}" for phase in phases),
                f"{row.total_seconds:.3f}",
                f"{row.conv_ratio:.1f}",
                f"{row.total_ratio:.1f}",
            )
            for name, row in zip(names, summary.rows, strict=True)
        ],
    )
    click.echo()
    console.table(
        ("billion multiply-adds an image", "conv", "fc", "total", "conv x", "total x"),
        [
            (
                name,
                f"{row.cost.conv_operations / 1e9:.2f}",
                f"{row.cost.fc_operations / 1e9:.2f}",
                f"{row.cost.operations / 1e9:.2f}",
                f"{row.conv_operations_ratio:.1f}",
                f"{row.operations_ratio:.1f}",
            )
            for name, row in zip(names, summary.rows, strict=True)
        ],
    )
    weights = " with random weights" if summary.random_weights else ""
    images = "1 image of random pixels" if summary.random_images else f"{summary.images} images"
    scaled = (
        f", R-CNN measured on {summary.measured} of them and scaled up" if summary.measured < summary.windows else ""
    )
    threads = f", {summary.threads} threads" if summary.device == "cpu" else ""
    click.echo(
        f"\nx: R-CNN over this. {summary.network}{weights} up to {summary.layer}; {images}, {summary.windows:,} "
        f"windows drawn at random{scaled}, warped to {summary.side} pixels with a context of {summary.context}; "
        f"{summary.precision} on {summary.device}{threads}."
    )
