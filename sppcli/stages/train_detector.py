"""Train a detector as one network on images and proposals.h5: trunk, RoI pooling, fc layers, softmax and regression."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sppcli.artefacts.networks import recorded_training, timeless
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import CURVES, NETWORK, PICTURE, claim
from sppcli.artefacts.proposals import propose_settings
from sppcli.datasets.formats import require_annotations
from sppcli.detection.detector_training import TrainDetectorConfig, new_detector, of_network, training_header
from sppcli.detection.network_scoring import NETWORK_SETTINGS, NetworkScorer, mean_ap
from sppcli.detection.rois import TrainingImages
from sppcli.detection.split import ImageSplit, open_images
from sppcli.errors import BadInput, UsageProblem
from sppcli.features.conv_maps import choose_device, choose_precision
from sppcli.learn.checkpoints import Checkpoints
from sppcli.learn.detector import DetectorEpoch, train_detector
from sppcli.learn.multisize import Machinery
from sppcli.nets.detector import SppDetector, check_levels, save_detector
from sppcli.report import curves
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.counts import count_of
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.distributed import world
from sppcli.runtime.files import ensure_folder
from sppcli.runtime.locks import one_training_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import NoProgress
from sppcli.runtime.trackers import Log, TrackedRun, rows_of

_TRACKED = {
    "class_loss": "loss/class",
    "box_loss": "loss/box",
    "map_11": "validation/mAP 11 points",
    "map_area": "validation/mAP area",
    "rate": "rate",
}
"""Field of an epoch -> curve in a tracker."""


@dataclass(frozen=True)
class TrainDetectorSummary:
    """``seconds``: of training in this run, validation left out; 0 where nothing was to do."""

    path: Path
    classes: tuple[str, ...]
    images: int
    validation_images: int
    steps: int
    parameters: int
    seconds: float
    epochs: tuple[DetectorEpoch, ...]
    up_to_date: bool = False


@one_training_at_a_time
@kept_memory()
@announces_compiling
def run(
    proposals_path: Path,
    output: Path,
    config: TrainDetectorConfig,
    *,
    dataset: Path | None = None,
    checkpoint_seconds: float = 60.0,
    options: RunOptions = USUAL,
) -> TrainDetectorSummary | None:
    """Train the detector and write it, with a .csv and a .png of its curves beside it.

    Killed, the next run goes on from ``output`` + ".checkpoint" and ends with the same weights. Started by torchrun,
    all processes train together; those that are not the first return None.

    Raises:
        MissingInput, BadInput: no such file or split, no object to learn from, or an image that cannot be read.
        UsageProblem: a backbone, layer or level that does not exist, images that are to train and to validate, fewer
            images in a step than processes, or a checkpoint of other options.
    """
    ensure_folder(output)
    check_levels(config.pyramid)
    device = choose_device(options.device)
    with world(device.type) as place:
        if device.type == "cuda" and place.size > 1:
            device = torch.device("cuda", place.local)
        on = Machinery(device, choose_precision(config.precision, device) == "bf16", place)
        told = options if place.first else replace(options, progress=NoProgress(), trackers=())
        return _run(proposals_path, output, config, dataset, checkpoint_seconds, told, on)


def _run(
    proposals_path: Path,
    output: Path,
    config: TrainDetectorConfig,
    dataset: Path | None,
    checkpoint_seconds: float,
    options: RunOptions,
    on: Machinery,
) -> TrainDetectorSummary | None:
    first = on.world.first
    data, held = _splits(proposals_path, config, dataset, options)
    read = [proposals_path, *([] if config.weights == "imagenet" else [Path(config.weights)])]
    table, picture = output.with_suffix(".csv"), output.with_suffix(".png")
    for path, kind in ((output, NETWORK), (table, CURVES), (picture, PICTURE)):
        claim(path, kind, inputs=read, data=data.dataset, overwrite=options.overwrite)
    classes = data.to_learn()
    config, network = of_network(config)
    for note in network.notes:
        options.progress.warn(note)
    precision = "bf16" if on.autocast else "fp32"
    header = training_header(data, held, network, config, precision)
    log = Log(TrackedRun("train-detector", output, header.fingerprint, asdict(config)), options)
    if Output(output, header, [proposals_path]).is_current(options.force):
        facts = recorded_training(output)["summary"]
        log.add(rows_of(facts["epochs"], _TRACKED), over=True)
        return _summary(output, facts, up_to_date=True) if first else None
    torch.set_num_threads(max(1, cpu_threads() // on.world.size) if on.device.type == "cpu" else cpu_threads())
    model, trunk = new_detector(network, classes, config)

    def tabulate(position: dict[str, Any]) -> None:
        curves.write_csv(table, position["history"])
        log.add(rows_of(position["history"], _TRACKED))

    keeper = Checkpoints.beside(output, header.fingerprint, checkpoint_seconds, model, options, first, tabulate)
    on.world.wait()

    history = train_detector(
        model,
        trunk,
        TrainingImages(data, classes, config.sampling, network.normalisation, config.seed),
        len(data.images),
        config.training,
        options.progress,
        on=on,
        keeper=keeper,
        look=partial(_look, held, config.sampling.scale, on) if held else None,
    )
    if not first:
        return None
    facts = _facts(model, data, held, config, history)
    log.add(rows_of(facts["epochs"], _TRACKED), over=True)
    curves.write_detector_png(picture, facts["epochs"], f"{network.backbone}, {len(classes)} classes")
    settings = {"scale": config.sampling.scale, "precision": precision, "proposals": propose_settings(data.proposals)}
    record = {"fingerprint": header.fingerprint, "config": asdict(config), "summary": timeless(facts)}
    save_detector(output, model, settings, record)
    keeper.discard()
    return _summary(output, facts)


def _look(held: ImageSplit, scale: int, on: Machinery, model: SppDetector) -> tuple[float | None, float | None]:
    """mAP of ``model`` on the validation images."""
    return mean_ap(held, NetworkScorer(model, scale, on.autocast, NETWORK_SETTINGS, on.device), on.world)


def _facts(
    model: SppDetector,
    data: ImageSplit,
    held: ImageSplit | None,
    config: TrainDetectorConfig,
    history: list[DetectorEpoch],
) -> dict[str, Any]:
    """What `TrainDetectorSummary` says, as it is stored."""
    return {
        "classes": list(model.architecture.classes),
        "images": len(data.images),
        "validation_images": len(held.images) if held else 0,
        "steps": config.training.epochs * -(-len(data.images) // config.training.images),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": sum(epoch.seconds for epoch in history),
        "epochs": [asdict(epoch) for epoch in history],
    }


def _splits(
    proposals_path: Path, config: TrainDetectorConfig, dataset: Path | None, options: RunOptions
) -> tuple[ImageSplit, ImageSplit | None]:
    """Images to train on and images to validate on."""
    data = open_images(proposals_path, config.split, dataset)
    require_annotations(data.dataset)
    held = open_images(proposals_path, config.validation, dataset) if config.validation else None
    for split in (data, held):
        if split and not split.images:
            raise BadInput(f"{proposals_path} has no image of split {split.split}; run spp propose on all images")
        if split and split.missing:
            options.progress.warn(
                f"split {split.split}: {count_of(len(split.missing), 'image has', 'images have')} no region proposals "
                f"and no part in this, the first: {split.missing[0]}"
            )
    both = set(data.images) & set(held.images) if held else set()
    if both:
        raise UsageProblem(
            f"{count_of(len(both), 'image is', 'images are')} in split {config.split} and in {config.validation}, the "
            f"first {data.image_id(min(both))}; validate on others"
        )
    return data, held


def _summary(output: Path, facts: dict[str, Any], up_to_date: bool = False) -> TrainDetectorSummary:
    # A file has no times in it.
    epochs = tuple(DetectorEpoch(**{"seconds": 0.0, **epoch}) for epoch in facts["epochs"])
    lists = {"classes": tuple(facts["classes"]), "epochs": epochs}
    return TrainDetectorSummary(output, **{"seconds": 0.0, **facts, **lists}, up_to_date=up_to_date)
