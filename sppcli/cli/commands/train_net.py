"""``spp train-net``: an image folder to network.safetensors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sppcli.cli import options
from sppcli.cli.options import Fraction, IntList, Number, PositiveFloat, SizeList

_NETS = "zf5, convnet5, overfeat5, overfeat7, tiny, or a torchvision trunk: alexnet, vgg16, googlenet, resnet18 …"


@click.command("train-net")
@click.argument("source", type=options.FilePath, metavar="FOLDER")
@options.output("network.safetensors", "The network to write; its curves stand beside it as .csv and .png.")
@click.option("--net", default="zf5", metavar="NAME", help=_NETS)
@click.option(
    "--sizes",
    type=SizeList(),
    default="180,224",
    metavar="SIZES",
    help="Input sizes, an epoch each in turn (180,224), or drawn for each epoch from a range (180-224).",
)
@click.option("--pyramid", type=IntList("6,3,2,1"), default="6,3,2,1", metavar="LEVELS", help="Bins.")
@click.option("--no-spp", is_flag=True, help="The baseline: the last map pooled to a fixed size, one input size.")
@click.option(
    "--fc", type=IntList("4096,4096", repeats=True), metavar="WIDTHS", help="Of fc6, fc7.  [default: the network's]"
)
@click.option("--cut", metavar="LAYER", help="Of a torchvision trunk, where the pyramid stands.  [default: its own]")
@click.option("--dropout", type=Fraction(0.5), default=0.5, help="After fc6 and fc7.")
@click.option(
    "--input",
    "normalisation",
    type=click.Choice(["imagenet", "inception", "caffe", "caffe-128"]),
    help="How pixels are normalised.  [default: the network's own]",
)
@click.option("--init", metavar="imagenet|FILE", help="Weights to start from: every tensor that fits.")
@click.option(
    "--side",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Shorter side images are resized to before they are cropped.  [default: 256/224 of the largest size]",
)
@click.option(
    "--crop",
    type=click.Choice(["random", "corners"]),
    default="random",
    help="Anywhere, or a corner or the centre.",
)
@click.option("--flip/--no-flip", default=True, help="Mirror half of the images.")
@click.option(
    "--colour",
    type=click.Choice(["pca", "jitter", "none"]),
    default="pca",
    help="Along the principal components of ImageNet's colours, or gain and lift a channel.",
)
@click.option("--strength", type=PositiveFloat(0.1), default=0.1, help="Of the colour altering.")
@click.option("--epochs", type=click.IntRange(min=1), default=70, metavar="N", help="At most.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=128,
    metavar="N",
    help="Images a step, over all processes.",
)
@click.option(
    "--rate",
    "learning_rate",
    type=PositiveFloat(0.01),
    default=0.01,
    help="Learning rate at the start.",
)
@click.option(
    "--schedule",
    type=click.Choice(["plateau", "steps"]),
    default="plateau",
    help="Rate divided by 10 when the error stops falling, or after 60% and 85% of the epochs.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=5,
    metavar="EPOCHS",
    help="Without a lower error before the rate falls.",
)
@click.option("--momentum", type=Fraction(0.9), default=0.9, help="Of SGD.")
@click.option("--weight-decay", type=Number(0.0005), default=0.0005, help="Of SGD.")
@click.option(
    "--held-out",
    type=Fraction(0.1),
    default=0.1,
    help="Share of the training images that validate where there is no folder val; 0 for none.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help="bf16 is mixed precision: weights and sums in fp32.",
)
@click.option(
    "--cache",
    "cache_bytes",
    type=options.Bytes(),
    default="2G",
    help="Memory for decoded images, as 800M or 3G.",
)
@click.option(
    "--checkpoint",
    "checkpoint_seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="Between two checkpoints; a killed training goes on from the last.",
)
@options.seed
@options.device
@options.strict
@options.force
@options.as_json
@options.verbosity
def command(source: Path, output: Path, sizes: tuple[bool, tuple[int, ...]], as_json: bool, **given: Any) -> None:
    """Train an SPP network on a folder with a sub-folder a class, or with such folders in train/ and val/.

    Images are resized, cropped, mirrored and altered in colour at random; SGD with momentum. Several processes or
    machines: torchrun --nproc-per-node 2 -m sppcli train-net ...
    """
    from sppcli.cli import console
    from sppcli.learn.schedule import TrainingConfig
    from sppcli.stages import train_net

    if given.pop("no_spp"):
        given["pyramid"] = ()
    control = {name: given.pop(name) for name in ("strict", "force", "checkpoint_seconds")}
    method = {name: given.pop(name) for name in list(given) if name in TrainingConfig.__dataclass_fields__}
    drawn, pixels = sizes
    training = TrainingConfig(sizes=tuple(sorted(pixels, reverse=True)), drawn=drawn, **method)
    config = train_net.TrainNetConfig(training=training, **given)
    with console.progress("train-net") as progress:
        summary = train_net.run(source, output, config, progress=progress, **control)
    if summary is None:
        return
    if as_json:
        console.print_json(asdict(summary))
        return
    error = summary.validation_error
    state = " (up to date)" if summary.up_to_date else ""
    click.echo(
        f"{output}: {summary.net}, {summary.parameters:,} parameters, {summary.classes} classes, {summary.images:,} "
        f"images, {summary.epochs} epochs, loss {summary.loss:.3f}"
        + (f", validation error {100 * error:.2f}%" if error is not None else "")
        + (f", {len(summary.skipped)} images left out" if summary.skipped else "")
        + (f", {summary.taken} tensors from {given['init']}" if summary.taken else "")
        + state
    )
