"""``spp export``: a trained network as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.cli import helpful, options
from sppcli.nets.registry import BACKBONES
from sppcli.runtime.counts import count_of


@helpful.command("export")
@click.argument("model", required=False, metavar="[MODEL]", type=options.FilePath)
@click.option(
    "-o", "--output", type=options.OutputPath, metavar="FILE", show_default="MODEL.onnx", help="File to write."
)
@click.option("--format", "kind", type=click.Choice(["onnx"]), default="onnx", help="Format of the file.")
@click.option("--trunk", is_flag=True, help="Export the conv layers of MODEL alone: an image in, its conv map out.")
@click.option(
    "--scale",
    type=click.IntRange(min=16),
    metavar="PIXELS",
    show_default="as they come",
    help="Of conv layers alone: length in pixels that the shorter side of images is resized to.",
)
@click.option(
    "--backbone",
    metavar="NAME",
    help=f"Without MODEL: export the conv layers of {', '.join(BACKBONES)}, or timm/NAME.",
)
@click.option(
    "--weights",
    type=options.Weights,
    metavar="imagenet|FILE",
    help="Without MODEL: weights of the backbone. Of SVMs: where their network is now.",
)
@click.option("--cut", metavar="LAYER", help="Of a backbone: layer whose output is the conv feature map.")
@click.option(
    "--input",
    "normalisation",
    type=click.Choice(["imagenet", "inception", "caffe", "caffe-128"]),
    help="Of a backbone: how pixels are normalised, as for spp extract.",
)
@options.overwrite
@options.as_json
@options.verbosity
def command(
    model: Path | None,
    output: Path | None,
    kind: str,
    trunk: bool,
    scale: int | None,
    backbone: str | None,
    weights: str | None,
    cut: str | None,
    normalisation: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a trained network as ONNX, for programs without spp and torch.

    MODEL is a network of spp train-detector or spp train-net, a file of spp pack, a folder with svm.h5 and perhaps
    bbox.h5, or weights of a backbone. A detector takes an image and region proposals, and gives the scores and the
    corrected box of each for every class; resizing and normalisation are in the file. What onnxruntime computes is
    compared with torch before the file is written.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import export, info

    if model is None and not (backbone or weights):
        raise click.UsageError("Name a MODEL, such as detector.safetensors, or give --backbone.")
    config = export.ExportConfig(
        trunk=trunk, scale=scale, backbone=backbone, weights=weights, cut=cut, normalisation=normalisation
    )
    with console.progress("export") as progress:
        summary = export.run(model, output, config, options=RunOptions(overwrite=overwrite, progress=progress))
    if as_json:
        console.print_json(asdict(summary))
        return
    of = f" of {count_of(len(summary.classes), 'class', 'classes')}" if summary.classes else ""
    worst = ", ".join(f"{name.replace('_', ' ')} {value:.1g}" for name, value in summary.differences.items())
    console.echo(f"{summary.path}: {summary.kind}{of}, {info.size_text(summary.bytes)}")
    console.say(f"largest difference between onnxruntime and torch: {worst}")
