"""``spp train-detector``: images and proposals.h5 to detector.safetensors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import IntList, PositiveFloat

EPOCHS = 6


@helpful.command("train-detector")
@options.proposals
@options.output("detector.safetensors")
@options.split("trainval")
@click.option("--validation", metavar="SPLIT", help="Split whose mAP is reported after each epoch.")
@click.option(
    "--train-from",
    metavar="LAYER|all|none",
    show_default="what suits the backbone",
    help="First layer of the backbone that is trained; those before it stay as they are.",
)
@click.option(
    "--pyramid",
    type=IntList("3,2,1"),
    default="3,2,1",
    metavar="LEVELS",
    help="Pyramid levels over the 6 x 6 bins of each RoI: divisors of 6.",
)
@click.option(
    "--channels",
    type=click.IntRange(min=1),
    default=128,
    metavar="N",
    help="Number of channels that a 1x1 convolution reduces the conv feature maps to.",
)
@click.option(
    "--fc",
    type=IntList("512,512", repeats=True),
    default="512,512",
    metavar="WIDTHS",
    help="Number of units of each fc layer.",
)
@click.option(
    "--scale",
    type=click.IntRange(min=16),
    default=420,
    metavar="PIXELS",
    help="Shorter side that images are resized to; in training it varies by a factor of 0.78 to 1.28.",
)
@click.option(
    "--images-per-step",
    "images",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Number of images in each step. Processes that torchrun starts share them.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=EPOCHS, metavar="N", help="Passes over the training images."
)
@click.option("--rate", type=PositiveFloat(0.0004), default=0.0004, help="Largest learning rate of the new layers.")
@click.option("--rois", type=click.IntRange(min=4), default=64, metavar="N", help="Number of RoIs in each step.")
@options.detector_network
@options.checkpoint
@options.seed
@options.dataset
@options.log("the learning curves")
@options.asking
@options.force
@options.as_json
@options.verbosity
def command(
    proposals: Path,
    output: Path,
    scale: int,
    epochs: int,
    rate: float,
    rois: int,
    images: int,
    dataset: Path | None,
    device: str,
    force: bool,
    wait: bool,
    log: tuple[str, ...],
    overwrite: bool,
    checkpoint_seconds: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a detector as one network, after Fast R-CNN.

    Conv feature maps are computed once per image and spatial pyramid pooling is applied to each RoI. The backbone, the
    fc layers, the softmax over classes and background, and bounding-box regression of each class are trained
    together. features.h5 is not needed. Go on with spp detect --network detector.safetensors. Processes that torchrun
    starts, on one machine or several, train as one.
    """
    from sppcli.cli import console
    from sppcli.detection.detector_training import TrainDetectorConfig
    from sppcli.detection.rois import RoiSampling
    from sppcli.learn.detector import DetectorTraining
    from sppcli.runtime.counts import count_of
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import train_detector

    config = TrainDetectorConfig(
        sampling=RoiSampling(scale=scale, rois=rois),
        training=DetectorTraining(epochs=epochs, rate=rate, images=images),
        **given,
    )
    with console.progress("train-detector") as progress:
        run = RunOptions(force=force, wait=wait, overwrite=overwrite, device=device, trackers=log, progress=progress)
        summary = train_detector.run(
            proposals, output, config, dataset=dataset, checkpoint_seconds=checkpoint_seconds, options=run
        )
    if summary is None:  # another process reports
        return
    if as_json:
        console.print_json(asdict(summary))
        return
    state = " (up to date)" if summary.up_to_date else f" in {summary.seconds:,.0f} s"
    console.echo(
        f"{output}: {count_of(len(summary.classes), 'class', 'classes')} from {count_of(summary.images, 'image')}, "
        f"{count_of(summary.steps, 'step')}{state}"
    )
    console.table(
        ("epoch", "rate", "class loss", "box loss", "mAP 11 points", "mAP area"),
        [
            (n, f"{e.rate:.2g}", f"{e.class_loss:.3f}", f"{e.box_loss:.3f}", _score(e.map_11), _score(e.map_area))
            for n, e in enumerate(summary.epochs, 1)
        ],
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
