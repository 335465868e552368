"""``spp train-net``: an image folder to network.safetensors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import Bytes, Fraction, IntList, Number, PositiveFloat, SizeList
from sppcli.nets.registry import BACKBONES
from sppcli.runtime.counts import count_of

_NETS = f"zf5, convnet5, overfeat5, overfeat7, tiny, or a backbone's trunk: {', '.join(BACKBONES)}"


@helpful.command("train-net")
@click.argument("source", type=options.FilePath, metavar="FOLDER")
@options.output("network.safetensors", "The network to write; its curves stand beside it as .csv and .png.")
@click.option("--net", default="zf5", metavar="NAME", help=_NETS)
@click.option(
    "--sizes",
    type=SizeList(),
    default="180,224",
    metavar="SIZES",
    help=(
        "Input sizes in pixels: one epoch at each size in turn (180,224), or a size drawn for each epoch "
        "from a range (180-224)."
    ),
)
@click.option(
    "--pyramid",
    type=IntList("6,3,2,1"),
    default="6,3,2,1",
    metavar="LEVELS",
    help="Pyramid levels: the number of bins on a side of each.",
)
@click.option(
    "--no-spp",
    is_flag=True,
    help=(
        "Train the baseline without spatial pyramid pooling: the last conv map is pooled to a fixed "
        "size, and there is one input size."
    ),
)
@click.option(
    "--fc",
    type=IntList("4096,4096", repeats=True),
    metavar="WIDTHS",
    help="Number of units of fc6 and fc7.  [default: the network's]",
)
@click.option(
    "--cut",
    metavar="LAYER",
    help="Layer of a torchvision network after which the pyramid is placed.  [default: where spp extract cuts it]",
)
@click.option(
    "--dropout",
    type=Fraction(0.5),
    default=0.5,
    help="Share of the units of fc6 and fc7 that dropout sets to zero in training.",
)
@click.option(
    "--input",
    "normalisation",
    type=click.Choice(["imagenet", "inception", "caffe", "caffe-128"]),
    help="How pixels are normalised.  [default: the network's own]",
)
@click.option(
    "--init",
    type=options.Weights,
    metavar="imagenet|FILE",
    help="Weights to start from; every tensor whose name and shape fit is taken.",
)
@click.option(
    "--side",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help=(
        "Length of the shorter side that images are resized to before they are cropped.  [default: "
        "256/224 of the largest size]"
    ),
)
@click.option(
    "--crop",
    type=click.Choice(["random", "corners"]),
    default="random",
    help="Position of the training crop: random, or one of the corners and the centre.",
)
@click.option("--flip/--no-flip", default=True, help="Mirror half of the training images.")
@click.option(
    "--colour",
    type=click.Choice(["pca", "jitter", "none"]),
    default="pca",
    help=(
        "How colours are altered in training: pca, along the principal components of ImageNet's colours; "
        "jitter, a random factor and offset for each channel."
    ),
)
@click.option("--strength", type=PositiveFloat(0.1), default=0.1, help="Standard deviation of the colour alteration.")
@click.option("--epochs", type=click.IntRange(min=1), default=70, metavar="N", help="Largest number of epochs.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=128,
    metavar="N",
    help="Number of images per mini-batch, over all processes.",
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
    help=(
        "When the learning rate is divided by 10: plateau, when the validation error stops falling; "
        "steps, after 60% and 85% of the epochs."
    ),
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=5,
    metavar="EPOCHS",
    help="Number of epochs without a lower validation error before the learning rate falls.",
)
@click.option("--momentum", type=Fraction(0.9), default=0.9, help="Momentum of SGD.")
@click.option("--weight-decay", type=Number(0.0005), default=0.0005, help="Weight decay of SGD.")
@click.option(
    "--held-out",
    type=Fraction(0.1),
    default=0.1,
    help="Share of the training images that is held out to validate on if there is no folder val; 0 for none.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help="Precision of the computations. bf16 is mixed precision: weights and sums stay in fp32.",
)
@click.option(
    "--cache",
    "cache_bytes",
    type=Bytes(),
    default="2G",
    help="Memory for decoded images, for example 800M or 3G.",
)
@options.checkpoint
@options.seed
@options.device
@options.strict
@options.log("the learning curves")
@options.asking
@options.force
@options.as_json
@options.verbosity
def command(source: Path, output: Path, sizes: tuple[bool, tuple[int, ...]], as_json: bool, **given: Any) -> None:
    """Train a classification network with spatial pyramid pooling.

    FOLDER has one sub-folder of images per class, or such folders in train/ and val/. Images are resized, cropped,
    mirrored and altered in colour at random; the optimiser is SGD with momentum. Several processes or machines train as
    one: torchrun --nproc-per-node 2 -m sppcli train-net ...
    """
    from sppcli.cli import console
    from sppcli.learn.schedule import TrainingConfig
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import train_net

    if given.pop("no_spp"):
        given["pyramid"] = ()
    control = {name: given.pop(name) for name in ("strict", "force", "wait", "overwrite", "device")}
    seconds, trackers = given.pop("checkpoint_seconds"), given.pop("log")
    method = {name: given.pop(name) for name in list(given) if name in TrainingConfig.__dataclass_fields__}
    drawn, pixels = sizes
    training = TrainingConfig(sizes=tuple(sorted(pixels, reverse=True)), drawn=drawn, **method)
    config = train_net.TrainNetConfig(training=training, **given)
    with console.progress("train-net") as progress:
        run = RunOptions(progress=progress, trackers=trackers, **control)
        summary = train_net.run(source, output, config, checkpoint_seconds=seconds, options=run)
    if summary is None:
        return
    if as_json:
        console.print_json(asdict(summary))
        return
    error = summary.validation_error
    state = " (up to date)" if summary.up_to_date else ""
    console.echo(
        f"{output}: {summary.net}, {count_of(summary.parameters, 'parameter')}, "
        f"{count_of(summary.classes, 'class', 'classes')}, {count_of(summary.images, 'image')}, "
        f"{count_of(summary.epochs, 'epoch')}, loss {summary.loss:.3f}"
        + (f", validation error {100 * error:.2f}%" if error is not None else "")
        + (f", {count_of(len(summary.skipped), 'image')} left out" if summary.skipped else "")
        + (f", {count_of(summary.taken, 'tensor')} from {given['init']}" if summary.taken else "")
        + state
    )
