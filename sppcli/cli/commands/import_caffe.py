"""``spp import-caffe``: a .caffemodel and its prototxt to a network file."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList


@helpful.command("import-caffe")
@click.argument("models", nargs=-1, required=True, metavar="MODEL.caffemodel...", type=options.FilePath)
@click.option(
    "--prototxt",
    "prototxts",
    type=options.FilePath,
    multiple=True,
    required=True,
    metavar="FILE",
    help=(
        "Caffe's description of the network. Given twice: first the part with the conv layers, then the "
        "part with the fc layers."
    ),
)
@options.output("network.safetensors")
@click.option(
    "--input",
    "normalisation",
    type=click.Choice(["caffe", "caffe-128"]),
    show_default="what the prototxt says",
    help=(
        "How pixels were normalised in training: BGR minus 104, 117, 123 (BVLC's mean pixel), or BGR "
        "minus 128 (the SPP-net release)."
    ),
)
@click.option(
    "--mean",
    type=options.Weights,
    metavar="B,G,R|FILE",
    help="Another mean pixel, or a mean.binaryproto or .npy file, whose average over all pixels is taken.",
)
@click.option(
    "--channels",
    type=click.Choice(["bgr", "rgb"]),
    default="bgr",
    help="Order of the colour channels that the network was trained on: Caffe's own is bgr. The mean is in this order.",
)
@click.option(
    "--pyramid",
    type=IntList("1,2,3,6"),
    metavar="LEVELS",
    show_default="what the prototxt says",
    help="Pyramid levels that fc6 reads, in its order, if the conv part ends before them.",
)
@click.option(
    "--side",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="what the prototxt says",
    help="Side in pixels of the square images that the network was trained on.",
)
@click.option(
    "--classes", type=options.FilePath, metavar="FILE", help="A text file with the names of the classes, one per line."
)
@options.overwrite
@options.as_json
@options.verbosity
def command(
    models: tuple[Path, ...],
    prototxts: tuple[Path, ...],
    output: Path,
    normalisation: str | None,
    mean: str | None,
    channels: str,
    pyramid: tuple[int, ...] | None,
    side: int | None,
    classes: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn a Caffe network into a file for spp extract --weights.

    The network must be a chain of conv, ReLU, max-pooling and normalisation layers, followed by fully connected
    layers: the SPP-net release's ZF-5, CaffeNet, AlexNet or VGG. Given several models, the weights of a layer are
    taken from the last one that has it.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import import_caffe

    config = import_caffe.ImportConfig(
        normalisation=normalisation, mean=mean, side=side, pyramid=pyramid, classes=classes, channels=channels
    )
    with console.progress("import-caffe") as progress:
        summary = import_caffe.run(
            models, prototxts, output, config, options=RunOptions(overwrite=overwrite, progress=progress)
        )
    if as_json:
        console.print_json(asdict(summary))
    else:
        widths = ", ".join(map(str, summary.fc))
        levels = ", ".join(f"{n} x {n}" for n in summary.levels)
        console.echo(
            f"{output}: {summary.name}, {summary.convs} conv layers, {levels} bins, "
            f"fc {widths}; {summary.input_size} pixels give {summary.input_cells} cells; "
            f"{summary.bytes / 1e6:,.1f} MB"
        )
