"""Fine-tunes the fc layers on regions of features.h5; the new network has the same trunk, so that maps stay valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sppcli.artefacts.networks import NetworkHeader, recorded_training
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import NETWORK
from sppcli.datasets.formats import require_annotations
from sppcli.detection.labelling import match
from sppcli.detection.networks import head_of, network_of_maps, record_of, window_reader
from sppcli.detection.split import SplitData, open_split
from sppcli.detection.training_plan import WindowSettings, choose_levels
from sppcli.errors import BadInput, UsageProblem
from sppcli.features.conv_maps import choose_device
from sppcli.features.windows import UniqueWindows, WindowReader
from sppcli.learn.checkpoints import Checkpoints
from sppcli.learn.finetune import Candidates, Check, FinetuneConfig, Windows, curves_of, draw_round, finetune, tell
from sppcli.nets.backbones import FcHead, Network
from sppcli.nets.classifier import SppClassifier
from sppcli.nets.weights import save_network, with_new_classes
from sppcli.paper import DEFAULT
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.counts import count_of
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.distributed import World, world
from sppcli.runtime.files import ensure_folder
from sppcli.runtime.locks import one_training_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.runtime.trackers import Log, TrackedRun
from sppcli.structures import ImageRef, IntArray

BACKGROUND = "background"

# The least IoU of foreground regions with their object, and of background regions, whose IoU is below the former.
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1

# First learning rates.
RATES = {"sgd": 1e-3, "adamw": 3e-4}

# Mini-batches of regions to validate on, and bounds of a schedule made for the data.
_VALIDATION, _FEWEST, _MOST = 16, 300, 300_000


@dataclass(frozen=True, kw_only=True)
class FinetuneStageConfig:
    """What is fine-tuned on what.

    | field | meaning |
    |---|---|
    | windows | how features are made: pyramid, slack, window side and scale rule; in training the scale is drawn |
    | split | of the images; ``held_out`` of them validate, or those of the split ``validation`` |
    | schedule | (mini-batches, rate) in turn; () goes six times through the foreground, the last time at a tenth |
    | iterations, rate | in place of the schedule's sum and first rate: each part keeps its share and its ratio |
    | optimiser | sgd, adamw; None: adamw for new fc layers, else sgd |
    | even_classes | draw each class equally often, not each region |
    | fc | widths of fc6, fc7 … for a network that has none |
    | flip | draw from mirror images too |
    | batch, check, seed | see `learn.finetune.FinetuneConfig` |
    | memory | bytes for drawn regions |
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    split: str = "trainval"
    validation: str | None = None
    held_out: float = 0.1
    schedule: tuple[tuple[int, float], ...] = DEFAULT.finetune_schedule
    iterations: int | None = None
    rate: float | None = None
    optimiser: str | None = DEFAULT.finetune_optimiser
    even_classes: bool = DEFAULT.finetune_even_classes
    fc: tuple[int, ...] = (1024, 1024)
    batch: int = 128
    check: int = 100
    flip: bool = False
    memory: int = 5 * 2**29
    seed: int = 0
    recipe: str = DEFAULT.name


@dataclass(frozen=True)
class FinetuneSummary:
    """``foreground``, ``background``: regions to draw from; ``best``: the mini-batch whose weights were kept."""

    path: Path
    classes: tuple[str, ...]
    images: int
    validation_images: int
    foreground: int
    background: int
    steps: int
    best: int
    checks: tuple[Check, ...]
    up_to_date: bool = False


@one_training_at_a_time
@kept_memory()
@announces_compiling
def run(
    proposals_path: Path,
    features_path: Path,
    output: Path,
    config: FinetuneStageConfig,
    *,
    dataset: Path | None = None,
    weights: str | None = None,
    checkpoint_seconds: float = 60.0,
    options: RunOptions = USUAL,
) -> FinetuneSummary | None:
    """Train fc layers and a softmax over classes and background; write the network.

    Killed, the next run goes on from ``output`` + ".checkpoint" and ends with the same weights. Started by torchrun,
    all processes train together; those that are not the first return None.

    Raises:
        MissingInput, BadInput: no such file or split, or no object to learn from.
        StaleArtefact: features of other proposals, or weights of another trunk.
        UsageProblem: images that are to train and to validate, or a checkpoint of other options.
    """
    ensure_folder(output)
    device = choose_device(options.device)
    with world(device.type) as place:
        if device.type == "cuda" and place.size > 1:
            device = torch.device("cuda", place.local)
        told = options if place.first else replace(options, progress=NoProgress(), trackers=())
        paths = (proposals_path, features_path, output)
        return _run(paths, config, dataset, weights, checkpoint_seconds, told, place, device)


def _run(
    paths: tuple[Path, Path, Path],
    config: FinetuneStageConfig,
    dataset: Path | None,
    weights: str | None,
    checkpoint_seconds: float,
    options: RunOptions,
    place: World,
    device: torch.device,
) -> FinetuneSummary | None:
    proposals_path, features_path, output = paths
    with open_split(proposals_path, features_path, config.split, dataset) as data:
        data.claim(output, NETWORK, weights, options.overwrite)
        require_annotations(data.dataset)
        if data.features.rcnn:
            raise UsageProblem(
                f"{features_path} holds R-CNN's features of single regions, not conv maps; "
                "fine-tune on those of spp extract"
            )
        images, held = _divide(data, config)
        classes = data.to_learn(images)
        network = network_of_maps(data.features, weights)
        header = _header(data, network, config, [*images, *held])
        log = Log(TrackedRun("finetune", output, header.fingerprint, asdict(config)), options)
        if Output(output, header, [proposals_path, features_path]).is_current(options.force):
            return _summary(output, recorded_training(output)["summary"], log, up_to_date=True) if place.first else None
        torch.set_num_threads(max(1, cpu_threads() // place.size) if device.type == "cpu" else cpu_threads())
        fc = _fc(network)
        levels = choose_levels(record_of(network), "fc6", config.windows.pyramid, fc)
        model = _new_model(network, (BACKGROUND, *classes), levels, config)
        reader = window_reader(data.features.scales, config.windows.record(data.features.network, levels, ""), None)
        shown = data.with_mirrors() if config.flip else data
        source = _Source(shown, reader, classes, config, options.progress, place)
        source.find([*images, *(image.mirror for image in images)] if config.flip else images)
        validation = source.validation(held, is_unit=not fc)
        method = _method(config, len(source.foreground.labels), "sgd" if fc else "adamw")
        keeper = Checkpoints.beside(
            output, header.fingerprint, checkpoint_seconds, model, options, place.first, partial(tell, log)
        )
        place.wait()
        checks, best = finetune(
            model, source, validation, method, device=device, world=place, keeper=keeper, progress=options.progress
        )
    if not place.first:
        return None
    source.put_factor_into(model)
    facts = {
        "classes": list(classes),
        "images": len(images),
        "validation_images": len(held),
        "foreground": len(source.foreground.labels),
        "background": len(source.background.labels),
        "steps": method.steps,
        "best": best,
        "checks": [asdict(check) for check in checks],
    }
    save_network(output, model, {"fingerprint": header.fingerprint, "config": asdict(config), "summary": facts})
    keeper.discard()
    return _summary(output, facts, log)


def _fc(network: Network) -> FcHead | None:
    """The fc layers of the network, if it has any."""
    return network.head if network.head and network.head.layers else None


def _header(
    data: SplitData, network: Network, config: FinetuneStageConfig, images: Sequence[ImageRef]
) -> NetworkHeader:
    """What decides the weights."""
    fc = _fc(network)
    return NetworkHeader(
        {
            "config": {**asdict(config), "windows": config.windows.to_json()},
            "proposals": data.proposals.fingerprint,
            "features": data.features.fingerprint,
            "annotations": data.dataset.annotation_digest(data.image_id(image) for image in images),
            "head": head_of(network, list(fc.layers)[-1])[1] if fc else "",
        }
    )


def _new_model(
    network: Network, classes: tuple[str, ...], levels: tuple[int, ...], config: FinetuneStageConfig
) -> SppClassifier:
    """The network with layers for ``classes``, new weights drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return with_new_classes(network, classes, levels, config.fc)


def _method(config: FinetuneStageConfig, foreground: int, usual: str) -> FinetuneConfig:
    """Return how to fine-tune on so many foreground regions; ``usual``: the optimiser unless another is asked for."""
    optimiser = config.optimiser or usual
    return FinetuneConfig(
        schedule=_schedule(config, foreground, optimiser),
        batch=config.batch,
        optimiser=optimiser,
        check=config.check,
        seed=config.seed,
    )


def _summary(output: Path, facts: dict[str, Any], log: Log, up_to_date: bool = False) -> FinetuneSummary:
    log.add(curves_of(facts["checks"]), over=True)
    lists = {"classes": tuple(facts["classes"]), "checks": tuple(Check(**check) for check in facts["checks"])}
    return FinetuneSummary(output, **{**facts, **lists}, up_to_date=up_to_date)


def _divide(data: SplitData, config: FinetuneStageConfig) -> tuple[list[ImageRef], list[ImageRef]]:
    """Images to train on and images to validate on."""
    if config.validation:
        names = set(data.dataset.split(config.validation))
        held = [ImageRef(index) for index, image_id in enumerate(data.features.images.ids) if image_id in names]
        both = set(held) & set(data.images)
        if both:
            raise UsageProblem(
                f"{count_of(len(both), 'image is', 'images are')} in split {config.split} and in {config.validation}, "
                f"the first {data.image_id(min(both))}; validate on others"
            )
        images = list(data.images)
    else:
        order = np.random.default_rng(config.seed).permutation(len(data.images))
        count = max(1, round(config.held_out * len(order)))
        held = sorted(data.images[i] for i in order[:count])
        images = sorted(data.images[i] for i in order[count:])
    if not images or not held:
        raise BadInput(
            f"split {config.split} has {count_of(len(data.images), 'image')} with features, "
            "and training needs two or more; choose another --split"
        )
    return images, held


def _schedule(config: FinetuneStageConfig, foreground: int, optimiser: str) -> tuple[tuple[int, float], ...]:
    """The recipe's, stretched to what is asked for; else six times through the objects' regions, the last sixth of
    them at a tenth of the rate.
    """
    if not config.schedule:
        steps = config.iterations or int(np.clip(6 * foreground / max(1, config.batch // 4), _FEWEST, _MOST))
        rate = config.rate or RATES[optimiser]
        last = max(1, steps // 6)
        return ((steps - last, rate), (last, rate / 10))
    done = np.cumsum([steps for steps, _ in config.schedule])
    ends = [round((config.iterations or int(done[-1])) * int(end) / int(done[-1])) for end in done]
    factor = config.rate / config.schedule[0][1] if config.rate else 1.0
    return tuple(
        (end - start, rate * factor)
        for start, end, (_, rate) in zip([0, *ends], ends, config.schedule, strict=False)
        if end > start
    )


class _Source:
    """Regions of the training images, pooled a round at a time (`learn.finetune.Rounds`)."""

    def __init__(
        self,
        data: SplitData,
        reader: WindowReader,
        classes: tuple[str, ...],
        config: FinetuneStageConfig,
        progress: Progress,
        place: World,
    ) -> None:
        self.data, self.reader, self.classes, self.config = data, reader, classes, config
        self.progress, self.place = progress, place
        self.factor = 1.0
        self._images: list[ImageRef] = []
        self.width = sum(n * n for n in reader.levels) * reader.channels
        self.foreground = self.background = Candidates(*(np.zeros(0, np.int64),) * 3)

    @property
    def batches(self) -> int:
        return int(np.clip(self.config.memory / 2 / (2 * self.width * self.config.batch), 1, 500))

    def find(self, images: Sequence[ImageRef]) -> None:
        """Find the foreground and background regions of ``images``."""
        self.foreground, self.background = self._candidates(images)
        if not len(self.foreground.labels):
            raise BadInput(
                f"no proposal in split {self.config.split} has an IoU of 0.5 with an object; raise --max-proposals"
            )

    def draw(self, number: int) -> Windows:
        rng = np.random.default_rng((self.config.seed, number))
        chosen = draw_round(
            self.foreground, self.background, self.config.batch, self.batches, rng, self.config.even_classes
        )
        scales = rng.integers(0, len(self.reader.scales), len(chosen.labels))
        if self.place.size == 1:
            return self._pooled(chosen, scales)
        # Each process has its own images: reading a map takes longer than pooling a few regions of it.
        mine = np.flatnonzero(chosen.image % self.place.size == self.place.rank)
        return replace(self._pooled(chosen.take(mine), scales[mine]), rows=mine)

    def validation(self, images: Sequence[ImageRef], is_unit: bool) -> Windows:
        """Regions of ``images``, each at its best scale.

        ``is_unit``: as new fc layers learn best on regions of unit mean square, these and all that are drawn later are
        multiplied with one factor that makes them so; see `put_factor_into`.
        """
        foreground, background = self._candidates(images)
        if not len(foreground.labels):
            raise BadInput(
                "no proposal of the validation images has an IoU of 0.5 with an object; hold out more images"
            )
        rng = np.random.default_rng((self.config.seed, 1, 1))
        chosen = draw_round(foreground, background, self.config.batch, _VALIDATION, rng, self.config.even_classes)
        found = self._pooled(chosen, None)
        if not is_unit:
            return found
        self.factor = 1 / float(np.sqrt(np.mean(np.square(found.features.astype(np.float32)))))
        return Windows((found.features * np.float16(self.factor)).astype(np.float16), found.labels)

    def put_factor_into(self, model: SppClassifier) -> None:
        """Multiply fc6 by the factor that regions were multiplied with."""
        if self.factor == 1:
            return
        first = model.fc["fc6"]
        assert isinstance(first, torch.nn.Linear)
        with torch.no_grad():
            first.weight *= self.factor

    def _candidates(self, images: Sequence[ImageRef]) -> tuple[Candidates, Candidates]:
        """Foreground and background regions; they name an image by its place in ``_images``."""
        objects, rest = [], []
        self.progress.start(len(images), "images")
        for image in images:
            place = len(self._images)
            self._images.append(image)
            found = match(self.data.objects_and_windows(image), self.data.truth(image), self.classes)
            foreground = found.positives(FOREGROUND_IOU)
            background = found.background(BACKGROUND_IOU, FOREGROUND_IOU)
            # Label 0 is the background's.
            objects.append(Candidates(np.full(len(foreground), place), foreground, 1 + found.label[foreground]))
            rest.append(Candidates(np.full(len(background), place), background, np.zeros(len(background), np.int64)))
            self.progress.advance()
        return Candidates.join(objects), Candidates.join(rest)

    def _pooled(self, chosen: Candidates, scales: IntArray | None) -> Windows:
        features = np.empty((len(chosen.labels), self.width), dtype=np.float16)
        order = np.argsort(chosen.image, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(chosen.image[order])) + 1) if len(order) else []

        def pool(rows: IntArray) -> tuple[IntArray, UniqueWindows]:
            image = self._images[int(chosen.image[rows[0]])]
            boxes = self.data.objects_and_windows(image)[chosen.window[rows]]
            which = None if scales is None else scales[rows]
            return rows, self.reader.unique(self.data.maps(image), boxes, which, np.float16)

        for rows, pooled in prefetch(pool, parts):
            values = pooled.values
            if self.factor != 1:
                values = (values.astype(np.float32) * np.float32(self.factor)).astype(np.float16)
            features[rows] = pooled.spread(values)
        return Windows(features, chosen.labels)
