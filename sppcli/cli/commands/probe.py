"""``spp probe``: linear classifiers on whole-image features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sppcli.cli import helpful, options
from sppcli.cli.types import PositiveFloat

if TYPE_CHECKING:
    from sppcli.stages.probe import ProbeSummary


class CValue(click.ParamType):  # type: ignore[type-arg]
    """``auto`` (None) or a number above zero, as ``float``."""

    name = "auto|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        return None if value == "auto" else PositiveFloat(1).convert(value, param, ctx)


@helpful.command("probe")
@click.option(
    "--features",
    type=options.FilePath,
    default="image-features.h5",
    metavar="FILE",
    help="The features made by spp features.",
)
@click.option(
    "--protocol",
    type=click.Choice(["voc2007", "split", "caltech"]),
    show_default="by the data set: VOC; folders train and test; neither",
    help=(
        "How classifiers are evaluated. voc2007: 11-point AP on VOC's test split; split: top-1 accuracy "
        "on test, or val; caltech: mean accuracy over random draws of a few images per class."
    ),
)
@click.option("--train", metavar="SPLIT", show_default="trainval or train", help="The split to train on.")
@click.option("--test", metavar="SPLIT", show_default="test, else val", help="The split to evaluate on.")
@click.option(
    "--c",
    type=CValue(),
    default="auto",
    help=(
        "C of the SVMs, for vectors of mean length 1; auto chooses the best from 0.01 to 100 by 3-fold "
        "cross-validation on the training images."
    ),
)
@click.option(
    "--train-images",
    type=click.IntRange(min=1),
    default=30,
    metavar="N",
    help="With --protocol caltech: number of training images per class.",
)
@click.option(
    "--test-images",
    type=click.IntRange(min=1),
    default=50,
    metavar="N",
    help="With --protocol caltech: largest number of test images per class.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=10,
    metavar="N",
    help="With --protocol caltech: number of random draws.",
)
@options.seed
@options.as_json
@options.verbosity
def command(
    features: Path,
    protocol: str | None,
    train: str | None,
    test: str | None,
    c: float | None,
    train_images: int,
    test_images: int,
    rounds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Train and evaluate linear SVMs on whole-image features.

    One linear SVM per class is trained on the features that spp features made, and evaluated on other images.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import probe

    if protocol == "caltech" and (train or test):
        raise click.UsageError("--train and --test are splits; protocol caltech draws its images from all of them.")
    config = probe.ProbeConfig(
        protocol=protocol,
        train=train,
        test=test,
        c=c,
        train_images=train_images,
        test_images=test_images,
        rounds=rounds,
        seed=seed,
    )
    with console.progress("probe") as progress:
        summary = probe.run(features, config, options=RunOptions(progress=progress))
    if as_json:
        console.print_json(asdict(summary))
    else:
        _print_table(summary)


def _print_table(summary: ProbeSummary) -> None:
    from sppcli.cli import console

    value = f"{summary.value:.4f}"
    if summary.protocol == "caltech":
        rows = [(number, f"{item.c:g}", f"{item.value:.4f}") for number, item in enumerate(summary.rounds, start=1)]
        console.table(("round", "C", "accuracy"), rows, footer=("mean", "", value))
        spread = "" if summary.deviation is None else f", standard deviation {summary.deviation:.4f} between rounds"
    else:
        shown = [
            (item.name, item.train, item.test, None if item.value is None else f"{item.value:.4f}")
            for item in summary.classes
        ]
        name = "AP" if summary.protocol == "voc2007" else "accuracy"
        footer = ("mAP" if summary.protocol == "voc2007" else "top-1", summary.train, summary.test, value)
        console.table(("class", "train", "test", name), shown, footer=footer)
        spread = f", C {summary.rounds[0].c:g}"
    console.echo(f"{summary.protocol}: {summary.measure} {value}{spread}")
