"""Detections of a network of `spp train-detector` in images that it was not trained on: see `held_out`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sppcli.detection.detecting import gather
from sppcli.detection.detector import NetworkDetector
from sppcli.detection.detector_training import TrainDetectorConfig, new_detector, of_network, training_header
from sppcli.detection.held_out import HeldOut, divided
from sppcli.detection.network_scoring import NetworkScorer, over_split
from sppcli.detection.rois import TrainingImages
from sppcli.detection.split import ImageSplit, open_images
from sppcli.errors import StaleArtefact
from sppcli.learn.checkpoints import Checkpoints
from sppcli.learn.detector import train_detector
from sppcli.learn.multisize import Machinery
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.options import RunOptions
from sppcli.structures import Detections

CHECKPOINT_SECONDS = 60.0


def in_split(data: ImageSplit, scorer: NetworkScorer, options: RunOptions) -> HeldOut:
    """What ``scorer`` finds in the images of ``data``, which its network has not seen."""
    found = gather(over_split(data, scorer), len(data.images), options.progress)
    truth = {data.image_id(image): data.truth(image) for image in data.images}
    return HeldOut(Detections.of_images(found, scorer.model.architecture.classes), truth)


def in_part(
    data: ImageSplit,
    detector: NetworkDetector,
    share: float,
    seed: int,
    output: Path,
    fingerprint: str,
    dataset: Path | None,
    options: RunOptions,
) -> HeldOut:
    """What a network that is trained like ``detector`` without a ``share`` of its images finds in these.

    Args:
        data: the images that ``detector`` was trained on.
        output: the file that this is for; killed, the next run goes on from ``output`` + ".checkpoint".
        fingerprint: digest of all that decides what is found.
        dataset: where the data set lies now.

    Raises:
        BadInput: too few images.
        StaleArtefact: images, annotations, proposals or weights are not those of the training.
    """
    classes, scorer = detector.classes, detector.scorer
    config, base = of_network(TrainDetectorConfig.recorded(detector.training["config"]))
    held = open_images(data.proposals.path, config.validation, dataset) if config.validation else None
    header = training_header(data, held, base, config, "bf16" if scorer.autocast else "fp32")
    if header.fingerprint != detector.fingerprint:
        raise StaleArtefact(
            f"{detector.path} was trained on other images, annotations, region proposals or weights than there are "
            "now; run spp train-detector again"
        )
    inside, outside = divided([data.truth(image).labels for image in data.images], share, seed, data.split)
    part, rest = (replace(data, images=tuple(data.images[row] for row in rows)) for rows in (inside, outside))
    options.progress.say(f"training on {len(outside)} images, detecting in the other {len(inside)}")
    torch.set_num_threads(cpu_threads())
    model, trunk = new_detector(base, classes, config)
    train_detector(
        model,
        trunk,
        TrainingImages(rest, classes, config.sampling, base.normalisation, config.seed),
        len(rest.images),
        config.training,
        options.progress,
        on=Machinery(scorer.device, scorer.autocast),
        keeper=Checkpoints.beside(output, fingerprint, CHECKPOINT_SECONDS, model, options),
    )
    placed = model.to(scorer.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return in_split(part, replace(scorer, model=placed), options)
