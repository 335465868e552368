"""``spp bench rcnn``: SPP-net against R-CNN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList
from sppcli.paper import DEFAULT

if TYPE_CHECKING:
    from sppcli.bench.rcnn import BenchSummary, Row


@helpful.command("rcnn")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=options.FilePath)
@click.option(
    "--net",
    metavar="NAME",
    show_default="zf5, unless --weights or --backbone is given",
    help=(
        "Use this network with random weights, which take the same time: zf5, convnet5, overfeat5, "
        "overfeat7, tiny, or a backbone."
    ),
)
@options.network
@click.option(
    "--scales",
    type=IntList(),
    multiple=True,
    show_default=f"688 and {IntList.text(DEFAULT.scales)}",
    help="Scales that SPP-net reads the image at; give the option again to measure another set.",
)
@click.option(
    "--windows", type=click.IntRange(min=1), default=2000, metavar="N", help="Number of region proposals in each image."
)
@click.option(
    "--rcnn-windows",
    type=click.IntRange(min=1),
    default=256,
    metavar="N",
    help=(
        "Number of region proposals that R-CNN is measured on; its time is scaled up to all of them. In "
        "both methods the fc layers read this many at once."
    ),
)
@click.option(
    "--proposals",
    type=options.FilePath,
    metavar="FILE",
    show_default="drawn at random; with --best of Selective Search",
    help="Take the region proposals of the IMAGEs from this proposals.h5.",
)
@click.option(
    "--context",
    type=click.IntRange(min=0),
    default=16,
    metavar="PIXELS",
    help="Pixels of surroundings in R-CNN's warped crops; see spp extract.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    metavar="N",
    help="Number of R-CNN crops that go through the conv layers at once.",
)
@click.option("--best", is_flag=True, help="Measure SPP-net with one saving after the other, against R-CNN in float32.")
@click.option(
    "--svd",
    type=IntList("1024,256", repeats=True),
    metavar="RANKS",
    show_default="1024,256",
    help="Ranks of the truncated fc layers; used with --best.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=3,
    metavar="N",
    help="Number of runs, taken in turn; the fastest counts.",
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
    normalisation: str | None,
    precision: str,
    device: str,
    scales: tuple[tuple[int, ...], ...],
    windows: int,
    rcnn_windows: int,
    proposals: Path | None,
    context: int,
    batch: int,
    best: bool,
    svd: tuple[int, ...] | None,
    repeat: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure SPP-net against R-CNN, from the image to the fc layers.

    Both methods have the same region proposals, network, precision and fc layers. The measured ratios are printed
    beside those of the multiply-adds. With --best, R-CNN runs in float32, first by torch's layers alone (its
    LocalResponseNorm too) and then by the kernels that SPP-net has; SPP-net is then measured with one saving after
    the other: bf16 where the processor has it, proposals that cover the same cells computed once, and truncated fc
    layers. Without an IMAGE, one of 500 x 375 pixels is drawn.
    """
    from sppcli.bench import rcnn as bench
    from sppcli.cli import console

    source = click.get_current_context().get_parameter_source
    trained = [
        flag
        for name, flag in (("weights", "weights"), ("backbone", "backbone"), ("cut", "cut"), ("normalisation", "input"))
        if source(name) is ParameterSource.COMMANDLINE
    ]
    if net and trained:
        raise click.UsageError(f"--net and --{trained[0]} exclude each other.")
    if svd and not best:
        raise click.UsageError("--svd is one of the savings of --best; give both.")
    plain = bench.BenchConfig()
    config = bench.BenchConfig(
        net=net or (None if trained else plain.net),
        weights=weights,
        backbone=backbone,
        cut=cut,
        normalisation=normalisation,
        precision=precision,
        device=device,
        scales=scales or plain.scales,
        windows=windows,
        rcnn_windows=rcnn_windows,
        context=context,
        batch=batch,
        repeat=repeat,
        seed=seed,
        proposals=proposals,
        best=best,
        svd=svd or plain.svd,
    )
    with console.progress("bench rcnn") as progress:
        summary = bench.run(images, config, progress=progress)
    if as_json:
        console.print_json(summary)
    else:
        _print(summary)


def _print(summary: BenchSummary) -> None:
    from sppcli.cli import console

    _print_seconds(summary)
    console.echo()
    _print_operations(summary)
    console.echo()
    _print_quotients(summary)
    console.echo(f"\n{_legend(summary)}")


def _print_seconds(summary: BenchSummary) -> None:
    from sppcli.cli import console

    names = [_name(row) for row in summary.rows]
    phases = list(summary.rows[0].cost.seconds)
    plain = summary.rows[0].plain_ratio is not None
    console.table(
        ("seconds per image", *phases, "total", "x", *(["x plain"] if plain else [])),
        [
            (
                name,
                *(_seconds(row.cost.seconds[phase]) for phase in phases),
                _seconds(row.total_seconds),
                f"{row.total_ratio:.1f}",
                *([f"{row.plain_ratio:.1f}"] if row.plain_ratio is not None else []),
            )
            for name, row in zip(names, summary.rows, strict=True)
        ],
    )


def _print_operations(summary: BenchSummary) -> None:
    from sppcli.cli import console

    console.table(
        ("billion multiply-adds", "conv", "fc", "total", "conv/s", "fc/s"),
        [
            (
                _name(row),
                f"{row.cost.conv_operations / 1e9:.2f}",
                f"{row.cost.fc_operations / 1e9:.2f}",
                f"{row.cost.operations / 1e9:.2f}",
                f"{row.cost.conv_operations / row.cost.seconds['conv'] / 1e9:.1f}",
                f"{row.cost.fc_operations / row.cost.seconds['fc'] / 1e9:.1f}",
            )
            for row in summary.rows
        ],
    )


def _print_quotients(summary: BenchSummary) -> None:
    from sppcli.cli import console

    console.table(
        ("R-CNN over", "layers", "measured", "operations", "quotient"),
        [
            (_name(row), part, f"{measured:.2f}", f"{counted:.2f}", f"{measured / counted:.2f}")
            for row in summary.rows
            if row.scales and not row.step
            for part, measured, counted in (
                ("conv", row.conv_ratio, row.conv_operations_ratio),
                ("conv and fc", row.layers_ratio, row.operations_ratio),
                ("in all", row.total_ratio, row.operations_ratio),
            )
        ],
    )


def _legend(summary: BenchSummary) -> str:
    """What was measured, in a sentence below the tables."""
    plain = summary.rows[0].plain_ratio is not None
    weights = " with random weights" if summary.random_weights else ""
    images = "1 image, drawn" if summary.drawn_images else f"{summary.images} image{'s' if summary.images > 1 else ''}"
    scaled = (
        f", R-CNN measured on {summary.measured} of them and scaled up" if summary.measured < summary.windows else ""
    )
    kept = [f"{row.cost.windows:,.0f}" for row in summary.rows if row.cost.windows < summary.windows]
    distinct = f" ({' and '.join(dict.fromkeys(kept))} of them unique)" if kept else ""
    threads = f", {summary.threads} threads" if summary.device == "cpu" else ""
    precisions = ", then ".join(dict.fromkeys(row.precision for row in summary.rows))
    alone = ", plain: by torch's layers alone" if plain else ""
    return (
        f"x: R-CNN over this{alone}. {summary.network}{weights} up to {summary.layer}; {images}, "
        f"{summary.windows:,.0f} proposals {summary.source}{distinct}{scaled}, warped to {summary.side} "
        f"pixels with a context of {summary.context}; {precisions} on {summary.device}{threads}."
    )


def _name(row: Row) -> str:
    if row.step:
        return f"+ {row.step}" if row.scales else f"{row.method}, {row.step}"
    return f"{row.method} {IntList.text(row.scales)}".strip()


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
