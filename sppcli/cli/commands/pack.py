"""``spp pack``: a trained detector as one file."""

from __future__ import annotations

from pathlib import Path

import click

from sppcli.artefacts.packs import PACK_SUFFIX
from sppcli.cli import helpful, options
from sppcli.runtime.counts import count_of


@helpful.command("pack")
@options.svm
@options.bbox
@click.option("--no-bbox", is_flag=True, help="Pack no bounding-box regression.")
@options.models("A folder with svm.h5 and perhaps bbox.h5; several for networks that detect together.")
@options.network_file("A network made by spp train-detector, in place of SVMs.")
@click.option(
    "--calibration",
    type=options.FilePath,
    metavar="FILE",
    show_default="calibration.h5 if it is there",
    help="The probabilities and thresholds made by spp calibrate.",
)
@click.option("--no-calibration", is_flag=True, help="Pack no probabilities and thresholds.")
@options.network_weights
@click.option("--licence", default="", metavar="TEXT", help="Licence of the weights, for whoever gets the file.")
@options.output(f"detector{PACK_SUFFIX}", f"The file to write, ending in {PACK_SUFFIX}.")
@options.overwrite
@options.as_json
@options.verbosity
def command(
    svm: Path,
    bbox: Path | None,
    no_bbox: bool,
    models: tuple[Path, ...],
    network: Path | None,
    calibration: Path | None,
    no_calibration: bool,
    weights: str | None,
    licence: str,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Put a trained detector into one file to hand over.

    It holds the network up to its last conv layer (and the fc layers that are needed), the SVMs, the bounding-box
    regression, the calibration and how region proposals are found, and no path of this machine. spp detect
    --model FILE IMAGE and sppcli.Detector.load(FILE) find what this folder's files find.
    """
    from dataclasses import asdict

    from sppcli.cli import console
    from sppcli.cli.commands.detect import check_inputs, model_paths
    from sppcli.detection.models import DetectPaths
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import info, pack

    check_inputs(models, bbox, no_bbox, weights)
    if calibration and no_calibration:
        raise click.UsageError("--calibration and --no-calibration exclude each other.")
    if output.suffix != PACK_SUFFIX:
        raise click.UsageError(f"-o {output}: name a file ending in {PACK_SUFFIX}.")
    how = "file" if bbox else "none" if no_bbox else "auto"
    config = pack.PackConfig(
        bbox=how, weights=weights, licence=licence, calibration=False if no_calibration else calibration
    )
    paths = DetectPaths(models=model_paths(Path("features.h5"), svm, bbox, models), network=network)
    with console.progress("pack") as progress:
        summary = pack.run(paths, output, config, options=RunOptions(overwrite=overwrite, progress=progress))
    if as_json:
        console.print_json(asdict(summary))
        return
    corrected = "boxes corrected" if summary.corrected else "boxes as proposed"
    thresholds = f"thresholds for {summary.calibrated}" if summary.calibrated else "not calibrated"
    console.echo(
        f"{summary.path}: a detector of {count_of(len(summary.classes), 'class', 'classes')}, {corrected}, "
        f"{thresholds}, {info.size_text(summary.bytes)}"
    )
