"""``spp detect``: svm.h5 and bbox.h5 to detections."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sppcli.artefacts.packs import PACK_SUFFIX
from sppcli.cli import helpful, options
from sppcli.cli.media import FORMATS
from sppcli.cli.options import of_recipe
from sppcli.cli.spreading import Spread, by_flag
from sppcli.cli.spreading import spread as spread_options
from sppcli.cli.types import Fraction, Number, PathOrUrl
from sppcli.paper import DEFAULT

if TYPE_CHECKING:
    from sppcli.detection.models import ModelPaths
    from sppcli.stages.detect import DetectConfig


@helpful.command("detect")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=options.FilePath)
@options.proposals
@options.features
@options.svm
@options.bbox
@click.option("--no-bbox", is_flag=True, help="Do not correct the boxes by bounding-box regression.")
@options.models(
    "A folder with features.h5, svm.h5 and perhaps bbox.h5, used in place of those in the current "
    "folder. Given several times, the networks detect together: non-maximum suppression is applied "
    "to the union of their scored region proposals. Or, for IMAGEs, one file of spp pack.",
    "FOLDER|FILE.spp",
)
@options.network_file(
    "A network made by spp train-detector, used in place of features.h5, svm.h5 and bbox.h5. Its scores are "
    "probabilities: --min-score is then 0.01, and 0.5 for IMAGEs."
)
@options.split("test")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    show_default="by the name of -o; else h5, and jsonl for IMAGEs",
    help=(
        "Format to write: h5, a detections.h5; jsonl, one JSON object per line; csv, a table; coco, COCO's list of "
        "results; voc, a folder of VOC result files; yolo, a folder of a text file for each image; pictures, the "
        "images with their boxes drawn."
    ),
)
@click.option(
    "-o",
    "--output",
    type=PathOrUrl("write", text=True),
    metavar="FILE|FOLDER/",
    show_default="detections.h5; for new images standard output",
    help=(
        "The file to write, or the folder of --format voc, yolo and pictures. Its ending says the format: .h5, .jsonl, "
        ".csv, .json (COCO), .png for one picture, FOLDER/ for pictures, .mp4 or .avi for an annotated video."
    ),
)
@click.option(
    "--video",
    metavar="FILE|N|ADDRESS",
    help="Detect in a video file, the webcam of number N, or a stream (rtsp://, http://). A video may be an IMAGE too.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Look at every N-th frame of the video; between, the boxes stay where they were.",
)
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="End the video after N frames.")
@click.option(
    "--watch",
    type=options.LocalPath,
    metavar="FOLDER",
    help="Detect in the images of a folder, then in each that comes, until Ctrl-C.",
)
@click.option(
    "--min-score",
    type=Number(0),
    metavar="SCORE",
    show_default=f"{DEFAULT.min_score:g}; for IMAGEs the thresholds of --calibration, else 0",
    help="Leave out detections whose score is not above this number.",
)
@click.option(
    "--calibration",
    type=options.FilePath,
    metavar="FILE",
    show_default="calibration.h5 if it is there",
    help="For IMAGEs, the probabilities and thresholds made by spp calibrate.",
)
@click.option("--no-calibration", is_flag=True, help="Give no probabilities, and show what scores above 0.")
@options.recipe
@of_recipe(
    "--nms",
    Fraction(),
    "Non-maximum suppression leaves out a detection whose IoU with a better one of its class is above this.",
)
@of_recipe("--nms-again/--no-nms-again", None, "Apply non-maximum suppression once more, to the corrected boxes.")
@of_recipe(
    "--second-pass/--no-second-pass",
    None,
    "Pool, score and correct the corrected boxes once more, and apply non-maximum suppression to both passes.",
)
@of_recipe(
    "--max-per-image", click.IntRange(min=1), "Largest number of detections of each class in an image.", metavar="N"
)
@options.svd
@options.whole_weights
@options.device
@options.jobs
@options.dataset
@spread_options
@options.strict
@options.asking
@options.force
@options.as_json
@options.verbosity
def command(
    images: tuple[Path, ...],
    proposals: Path,
    features: Path,
    svm: Path,
    bbox: Path | None,
    no_bbox: bool,
    models: tuple[Path, ...],
    network: Path | None,
    split: str,
    kind: str | None,
    output: str | None,
    video: str | None,
    every: int,
    frames: int | None,
    watch: Path | None,
    min_score: float | None,
    calibration: Path | None,
    no_calibration: bool,
    recipe: str,
    svd: tuple[int, ...] | None,
    weights: str | None,
    device: str,
    jobs: int | None,
    dataset: Path | None,
    spread: Spread,
    strict: bool,
    force: bool,
    wait: bool,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Detect objects in the images of a split, or in new images.

    Without an IMAGE, the images of a split are read from features.h5. New IMAGEs (files, folders, or - for paths on
    standard input, which are done as they come) go from file to detections in one command, with the settings of the
    training; so do videos, webcams, streams (--video) and a folder that fills (--watch).
    """
    from sppcli.artefacts.packs import read_description
    from sppcli.artefacts.proposals import none_of_them
    from sppcli.cli import console
    from sppcli.cli.media import Media, Place, detect_media, say
    from sppcli.detection.detecting import ResultsFile, Shown
    from sppcli.detection.models import DetectPaths
    from sppcli.detection.split import open_images
    from sppcli.runtime.options import RunOptions
    from sppcli.stages import detect

    media = Media.of(images, video, every, frames, watch)
    models, bbox, no_bbox, network = overruled(models, bbox, no_bbox, network)
    check_inputs(models, bbox, no_bbox, weights)
    pack = _pack(models, bool(media))
    if pack:
        models, bbox, no_bbox, network, weights, calibration = (), None, False, None, None, None
    calibration, no_calibration = _for_images(calibration, no_calibration, bool(media))
    _check_calibration(calibration, no_calibration, bool(media))
    by_threshold = min_score is None
    if network or (pack and "detector" in read_description(pack)):
        given = _of_network(given, bool(media), min_score, packed=pack is not None)
        min_score = given.pop("min_score")
    place = Place.of(kind, output, media)
    if click.get_current_context().meta.get(options.ASKING) and (media or place.kind != "h5"):
        raise click.UsageError("--dry-run is of a split's detections.h5: leave out the IMAGEs and --format.")
    spread = _of_split(spread, bool(media) or place.kind != "h5")
    if as_json and place.path is None:
        raise click.UsageError(f"--json and {place.kind} both go to standard output: give -o FILE.")
    if media and min_score is None:
        min_score = 0.0
    how = "file" if bbox else "none" if no_bbox else "auto"
    config = _config(recipe, split, how, svd or (), {**given, "min_score": min_score})
    paths = DetectPaths(proposals, model_paths(features, svm, bbox, models), network, pack)
    with console.progress("detect") as progress:
        run = RunOptions(force=force, wait=wait, overwrite=overwrite, strict=strict, device=device, progress=progress)
        run = replace(run, jobs=spread.jobs(jobs))
        if media:
            if media.watch is not None:
                said = "ended; what was found so far is written; started again, it takes all images of the folder anew"
                click.get_current_context().meta[options.ENDLESS] = said
            shown = Shown(False if no_calibration else calibration, by_threshold)
            say(detect_media(media, place, paths, config, weights, shown, run), place.path, as_json)
            return
        with place.sink(split, overwrite) as sink:
            named = place.path if place.kind != "h5" else None
            file = ResultsFile(named, place.kind) if named else None
            target = place.path if place.kind == "h5" else None
            stage = partial(detect.run, paths, config, sink=sink, results=file, dataset=dataset)
            summary = (
                spread.run(
                    stage,
                    target,
                    run,
                    ids=lambda: open_images(paths.proposals, split, dataset, none_of_them).listed()[0],
                    inputs=[*paths.files(), *([Path(weights)] if weights else [])],
                )
                if target
                else stage(output=target, options=run)
            )
    say(summary, summary.output or place.path, as_json)


_OF_MODELS = ("features", "svm", "bbox", "no_bbox", "models", "weights", "svd", "nms_again", "second_pass", "recipe")
"""Options that a network of spp train-detector has no use for."""


def overruled(
    models: tuple[Path, ...], bbox: Path | None, no_bbox: bool, network: Path | None
) -> tuple[tuple[Path, ...], Path | None, bool, Path | None]:
    """The options that exclude others, without those that others given in a stronger place overrule."""
    from sppcli.cli.config import beats

    context = click.get_current_context()
    if any(beats(context, name, "network") for name in _OF_MODELS):
        network = None
    if any(beats(context, name, "models") for name in ("features", "svm", "bbox")):
        models = ()
    if beats(context, "bbox", "no_bbox"):
        no_bbox = False
    if beats(context, "no_bbox", "bbox"):
        bbox = None
    return models, bbox, no_bbox, network


def check_inputs(models: tuple[Path, ...], bbox: Path | None, no_bbox: bool, weights: str | None = None) -> None:
    """Refuse options that exclude each other."""
    if bbox and no_bbox:
        raise click.UsageError("--bbox and --no-bbox exclude each other.")
    for name in ("features", "svm", "bbox"):
        if models and click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--model and --{name} exclude each other.")
    if weights and len(models) > 1:
        raise click.UsageError("--weights cannot stand for several networks; leave it out.")


def _for_images(calibration: Path | None, none: bool, new_images: bool) -> tuple[Path | None, bool]:
    """The options of calibration, without one that the other, given in a stronger place, overrules; of a split without
    a file that no flag names."""
    from sppcli.cli.config import beats

    context = click.get_current_context()
    if beats(context, "no_calibration", "calibration"):
        calibration = None
    if beats(context, "calibration", "no_calibration"):
        none = False
    if not new_images and context.get_parameter_source("calibration") is not ParameterSource.COMMANDLINE:
        calibration = None
    return calibration, none


def _pack(models: tuple[Path, ...], new_images: bool) -> Path | None:
    """The file of spp pack among ``models``, which is alone; None if there is none."""
    files = [model for model in models if model.suffix == PACK_SUFFIX and not model.is_dir()]
    if not files:
        return None
    if len(models) > 1:
        raise click.UsageError(f"{files[0]} detects alone; give it as the only --model.")
    context = click.get_current_context()
    for name in ("no_bbox", "network", "weights", "calibration"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{files[0]} holds all that detects; leave out --{name.replace('_', '-')}.")
    if not new_images:
        raise click.UsageError(f"{files[0]} detects in new images; name some, or folders of them.")
    return files[0]


def _of_split(spread: Spread, other: bool) -> Spread:
    """``spread``; or of anything ``other`` than a split's detections.h5 none, and no flag may ask for it."""
    if spread and other and by_flag("shard", "cluster"):
        raise click.UsageError(
            "--shard and --cluster are of a split's detections.h5: leave out the IMAGEs and --format. Many new images "
            "are a data set too: divide spp propose FOLDER, spp extract and spp detect --split all in the same way."
        )
    return Spread() if other else spread


def _check_calibration(calibration: Path | None, no_calibration: bool, new_images: bool) -> None:
    if calibration and no_calibration:
        raise click.UsageError("--calibration and --no-calibration exclude each other.")
    if calibration and not new_images:
        raise click.UsageError("--calibration is for IMAGEs: the detections of a split are all kept, for spp evaluate.")


def _of_network(
    given: dict[str, Any], new_images: bool, min_score: float | None, packed: bool = False
) -> dict[str, Any]:
    """``given`` and the least score with a network's defaults; refuse options that are others' than its own."""
    from sppcli.detection.calibrated import NEW_IMAGE_SCORE
    from sppcli.detection.network_scoring import NETWORK_SETTINGS

    for parameter in click.get_current_context().command.params:
        source = click.get_current_context().get_parameter_source(parameter.name or "")
        if parameter.name in _OF_MODELS and not packed and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--network and {parameter.opts[0]} exclude each other.")
    usual = asdict(NETWORK_SETTINGS) | ({"min_score": NEW_IMAGE_SCORE} if new_images else {})
    return {name: usual[name] if value is None else value for name, value in {**given, "min_score": min_score}.items()}


def _config(recipe: str, split: str, bbox: str, svd: tuple[int, ...], given: dict[str, Any]) -> DetectConfig:
    from sppcli.detection.scoring import DetectSettings
    from sppcli.stages.detect import DetectConfig

    settings = DetectSettings(**options.chosen(recipe, given))
    return DetectConfig(settings=settings, split=split, bbox=bbox, recipe=recipe, svd=svd)


def model_paths(features: Path, svm: Path, bbox: Path | None, folders: tuple[Path, ...]) -> tuple[ModelPaths, ...]:
    """The files of each network: those in ``folders``, or without any the ones named."""
    from sppcli.detection.models import ModelPaths

    chosen = tuple(ModelPaths.in_folder(folder) for folder in folders)
    return chosen or (ModelPaths(features, svm, bbox or Path("bbox.h5")),)
