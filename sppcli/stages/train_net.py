"""Trains an SPP network, or a baseline, on an image folder; writes network.safetensors and its learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sppcli.artefacts.networks import NetworkHeader, recorded_training, timeless
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import CURVES, NETWORK, PICTURE, claim
from sppcli.artefacts.store import digest_of
from sppcli.datasets.imagefolder import LabelledImages, divide, open_labelled, splits_of
from sppcli.detection.per_image import none_left
from sppcli.errors import BadInput, UsageProblem
from sppcli.features.conv_maps import choose_device, choose_precision
from sppcli.images import problem_with
from sppcli.learn.checkpoints import Checkpoints
from sppcli.learn.loading import ImageFiles
from sppcli.learn.multisize import Epoch, Machinery, train
from sppcli.learn.schedule import TrainingConfig
from sppcli.nets.architectures import architecture
from sppcli.nets.backbones import tensors_digest
from sppcli.nets.classifier import Architecture, SppClassifier
from sppcli.nets.weights import initial_weights, save_network
from sppcli.report import curves
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.distributed import World, world
from sppcli.runtime.files import ensure_folder
from sppcli.runtime.locks import one_training_at_a_time
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import NoProgress
from sppcli.runtime.trackers import Log, TrackedRun, rows_of

_TRACKED = {
    "loss": "loss/train",
    "right": "accuracy/train",
    "validation_error": "error/validation",
    "rate": "rate",
    "size": "input size",
}
"""Field of an epoch -> curve in a tracker."""
# The shorter side of images and the side of the crop in the paper.
_SIDE, _CROP = 256, 224


@dataclass(frozen=True, kw_only=True)
class TrainNetConfig:
    """What is trained, on what, how.

    | field | meaning |
    |---|---|
    | net, pyramid, fc, cut, normalisation, dropout | see `architectures.architecture`; no pyramid: the baseline |
    | training | the method; its first size is the crop's |
    | side | shorter side that images are resized to before they are cropped; None: 256 / 224 of the crop |
    | held_out | share of the training images that validate where there is no folder val; 0 for none |
    | init | weights to start from: imagenet or a file |
    | precision, cache_bytes | how it is computed; bf16 is mixed precision |
    """

    net: str = "zf5"
    pyramid: tuple[int, ...] = (6, 3, 2, 1)
    fc: tuple[int, ...] | None = None
    cut: str | None = None
    normalisation: str | None = None
    dropout: float = 0.5
    training: TrainingConfig = field(default_factory=TrainingConfig)
    side: int | None = None
    held_out: float = 0.1
    init: str | None = None
    precision: str = "auto"
    cache_bytes: int = 2 << 30

    @property
    def resized(self) -> int:
        return self.side or round(self.training.sizes[0] * _SIDE / _CROP)


@dataclass(frozen=True)
class TrainNetSummary:
    """``taken``: tensors taken over from ``init``; ``waited``: of ``seconds``, those spent waiting for images.

    Times are those of this run: 0 where nothing was to do.
    """

    path: Path
    net: str
    parameters: int
    classes: int
    images: int
    validation_images: int
    epochs: int
    loss: float
    validation_error: float | None
    seconds: float = 0.0
    waited: float = 0.0
    taken: int = 0
    skipped: tuple[str, ...] = ()
    curves: tuple[Path, ...] = ()
    up_to_date: bool = False


@one_training_at_a_time
@announces_compiling
def run(
    source: Path,
    output: Path,
    config: TrainNetConfig,
    *,
    checkpoint_seconds: float = 60.0,
    options: RunOptions = USUAL,
) -> TrainNetSummary | None:
    """Train on the image folder ``source`` and write ``output`` with a .csv and a .png of its curves beside it.

    Killed at any instant, the next run goes on from ``output`` + ".checkpoint" and ends with the same weights. Started
    by torchrun, all processes train together; those that are not the first return None.

    Raises:
        MissingInput: no images, no weights to start from, no folder to write to.
        BadInput: with ``strict``, an image that cannot be opened; without, one that is found damaged while training.
        UsageProblem: a network, size, device or option that does not exist, or a checkpoint of another training.
    """
    ensure_folder(output)
    device = choose_device(options.device)
    with world(device.type) as place:
        if device.type == "cuda" and place.size > 1:
            device = torch.device("cuda", place.local)
        told = options if place.first else replace(options, progress=NoProgress(), trackers=())
        return _run(source, output, config, told, checkpoint_seconds, place, device)


@dataclass(frozen=True)
class _Plan:
    """What is trained on which images; ``skipped`` says what is wrong with those left out."""

    images: LabelledImages
    held: LabelledImages | None
    skipped: tuple[str, ...]
    design: Architecture
    initial: dict[str, torch.Tensor]
    precision: str

    @classmethod
    def of(cls, source: Path, config: TrainNetConfig, device: torch.device, options: RunOptions) -> _Plan:
        images, held, skipped = _images(source, config, options)
        design = _design(images.classes, config)
        initial: dict[str, torch.Tensor] = {}
        if config.init:
            design, initial = initial_weights(design, config.init)
        # On processors torch's bfloat16 gradients are many times slower than float32's.
        precision = "fp32" if config.precision == "auto" and device.type == "cpu" else config.precision
        return cls(images, held, skipped, design, initial, choose_precision(precision, device))

    def paths(self) -> list[Path]:
        return [*self.images.paths, *(self.held.paths if self.held else ())]

    def header(self, config: TrainNetConfig) -> NetworkHeader:
        """All that decides the weights. Images are known by name, place, class and size in bytes."""
        listed = [
            [path.relative_to(part.root).as_posix(), int(label), path.stat().st_size]
            for part in (self.images, self.held)
            if part
            for path, label in zip(part.paths, part.labels, strict=True)
        ]
        return NetworkHeader(
            {
                "network": self.design.to_json(),
                "training": config.training.to_json(),
                "side": config.resized,
                "precision": self.precision,
                "initial": tensors_digest(self.initial),
                "images": digest_of(listed),
            }
        )

    def files(self, config: TrainNetConfig) -> tuple[ImageFiles, ImageFiles | None]:
        """The images to train on and those to validate on, as `train` takes them."""
        images, held, room = self.images, self.held, config.cache_bytes
        return (
            ImageFiles(images.paths, images.labels, config.resized, room),
            ImageFiles(held.paths, held.labels, config.resized, room // 4) if held else None,
        )

    def facts(self, model: SppClassifier, history: Sequence[Epoch], pictures: Sequence[Path]) -> dict[str, Any]:
        """What `TrainNetSummary` says, as it is stored."""
        return {
            "net": self.design.name,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "classes": len(self.images.classes),
            "images": len(self.images),
            "validation_images": len(self.held) if self.held else 0,
            "epochs": len(history),
            "loss": history[-1].loss,
            "validation_error": history[-1].validation_error,
            "seconds": sum(epoch.seconds for epoch in history),
            "waited": sum(epoch.waited for epoch in history),
            "taken": len(self.initial),
            "skipped": self.skipped,
            "curves": [str(path) for path in pictures],
        }


def _run(
    source: Path,
    output: Path,
    config: TrainNetConfig,
    options: RunOptions,
    checkpoint_seconds: float,
    place: World,
    device: torch.device,
) -> TrainNetSummary | None:
    plan = _Plan.of(source, config, device, options)
    table, picture = output.with_suffix(".csv"), output.with_suffix(".png")
    for path, kind in ((output, NETWORK), (table, CURVES), (picture, PICTURE)):
        inputs = [Path(config.init)] if config.init else []
        claim(path, kind, inputs=inputs, images=plan.paths(), overwrite=options.overwrite)
    header = plan.header(config)
    log = Log(TrackedRun("train-net", output, header.fingerprint, asdict(config)), options)
    if Output(output, header, plan.paths()).is_current(options.force):
        recorded = recorded_training(output)
        log.add(rows_of(recorded["history"], _TRACKED), over=True)
        return _summary(output, recorded["summary"], up_to_date=True) if place.first else None

    def tabulate(position: dict[str, Any]) -> None:
        curves.write_csv(table, position["history"])
        log.add(rows_of(position["history"], _TRACKED))

    with torch.device("meta"):
        like = SppClassifier(plan.design)
    keeper = Checkpoints.beside(output, header.fingerprint, checkpoint_seconds, like, options, place.first, tabulate)
    place.wait()
    torch.set_num_threads(max(1, cpu_threads() // place.size) if device.type == "cpu" else cpu_threads())
    images, validation = plan.files(config)
    model, history = train(
        plan.design,
        images,
        config.training,
        options.progress,
        validation=validation,
        initial=plan.initial,
        keeper=keeper,
        on=Machinery(device, plan.precision == "bf16", place),
    )
    if not place.first:
        return None
    epochs = [asdict(epoch) for epoch in history]
    log.add(rows_of(epochs, _TRACKED), over=True)
    curves.write_png(picture, epochs, f"{plan.design.name}, {_sizes(config.training)}, seed {config.training.seed}")
    facts = plan.facts(model, history, [table, picture])
    record = {"fingerprint": header.fingerprint, "config": asdict(config), "side": config.resized}
    save_network(output, model, {**record, "history": timeless(epochs), "summary": timeless(facts)})
    keeper.discard()
    return _summary(output, facts)


def _summary(output: Path, facts: dict[str, Any], up_to_date: bool = False) -> TrainNetSummary:
    lists = {"skipped": tuple(facts["skipped"]), "curves": tuple(Path(name) for name in facts["curves"])}
    return TrainNetSummary(output, **{**facts, **lists}, up_to_date=up_to_date)


def _images(
    source: Path, config: TrainNetConfig, options: RunOptions
) -> tuple[LabelledImages, LabelledImages | None, tuple[str, ...]]:
    """Images to train on, images to validate on, and what was left out."""
    splits = splits_of(source)
    images, skipped = _usable(open_labelled(source, "train" if splits else None), config.resized, options)
    if "val" in splits:
        held, also = _usable(open_labelled(source, "val", images.classes), config.resized, options)
        return images, held, (*skipped, *also)
    if not config.held_out:
        return images, None, skipped
    return *divide(images, config.held_out, config.training.seed), skipped


def _usable(images: LabelledImages, side: int, options: RunOptions) -> tuple[LabelledImages, tuple[str, ...]]:
    """Those images that begin as images do and are usable at ``side``, and what is wrong with the others."""
    progress = options.progress
    for warning in images.warnings:
        progress.warn(warning)
    progress.start(len(images), "files")
    problems = []
    with ThreadPoolExecutor(cpu_threads()) as pool:
        for problem in pool.map(partial(problem_with, side=side), images.paths, chunksize=64):
            problems.append(problem)
            progress.advance()
    bad = tuple(problem for problem in problems if problem)
    if bad and options.strict:
        raise BadInput(bad[0])
    for problem in bad:
        progress.warn(f"left out: {problem}")
    good = [row for row, problem in enumerate(problems) if not problem]
    if not good:
        raise none_left(len(images), "could be opened", bad[0], str(images.root))
    return replace(images, paths=tuple(images.paths[row] for row in good), labels=images.labels[good]), bad


def _design(classes: Sequence[str], config: TrainNetConfig) -> Architecture:
    """The network, once it is sure that it takes every size."""
    training = config.training
    if len(classes) < 2:
        raise UsageProblem(f"there is one class only, {classes[0]}; give at least two folders to tell apart")
    if config.resized < training.sizes[0]:
        raise UsageProblem(f"images of {config.resized} pixels cannot be cropped to {training.sizes[0]}; raise --side")
    design = architecture(
        config.net,
        classes,
        config.pyramid,
        side=training.sizes[0],
        fc=config.fc,
        cut=config.cut,
        normalisation=config.normalisation,
        dropout=config.dropout,
    )
    if design.pool and len(training.sizes) > 1:
        raise UsageProblem(f"{config.net} without a pyramid takes one input size, as --sizes {training.sizes[0]}")
    for size in sorted(set(training.sizes)):
        try:
            SppClassifier(replace(design, input_size=size, fc=()))
        except RuntimeError:
            # torch's layers find out for themselves what is left of the map.
            raise UsageProblem(
                f"{config.net}: nothing is left of inputs of {size} pixels; give larger --sizes"
            ) from None
    return design


def _sizes(training: TrainingConfig) -> str:
    if training.drawn:
        return f"{min(training.sizes)} to {max(training.sizes)} pixels"
    return f"{' and '.join(str(size) for size in training.sizes)} pixels"
