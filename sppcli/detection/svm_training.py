"""Trains one linear SVM per class on region proposals, with hard negative mining: what `spp train-svm` runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sppcli.detection.labelling import match
from sppcli.detection.split import SplitData
from sppcli.detection.training_plan import WindowSettings, measure_normaliser
from sppcli.errors import BadInput, MissingInput
from sppcli.features.normalise import Normaliser
from sppcli.features.windows import UniqueWindows, WindowReader
from sppcli.geometry.boxes import jittered
from sppcli.learn.budget import SvmBudget, for_samples
from sppcli.learn.mining import ClassMiner, MiningSettings
from sppcli.learn.svm import LinearModel, SvmSettings, fit_svms
from sppcli.paper import DEFAULT
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import Progress
from sppcli.structures import BoolArray, Boxes, ImageRef

Int64 = npt.NDArray[np.int64]


PARALLEL_FROM = 5 * 10**7
"""From this many numbers on, classes are trained in several processes: fewer take less time than starting these."""


@dataclass(frozen=True, kw_only=True)
class TrainSvmConfig:
    """``classes``: () for all that the split shows. ``memory``: bytes for the whole process, see `learn.budget`.

    ``flip``: learn from mirror images too; ``jitter``: boxes near each object that are positives with it.

    What is not said here is as in `paper.Recipe`.
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    split: str = "trainval"
    classes: tuple[str, ...] = ()
    c: float = DEFAULT.c
    positive_weight: float = DEFAULT.positive_weight
    bias_feature: float = DEFAULT.bias_feature
    negative_iou: float = DEFAULT.negative_iou
    duplicate_iou: float = DEFAULT.duplicate_iou
    mining: str = DEFAULT.mining
    mining_rounds: int = DEFAULT.mining_rounds
    first_negatives: int = DEFAULT.first_negatives
    hard_per_image: int = DEFAULT.hard_per_image
    hard_score: float = DEFAULT.hard_score
    evict_score: float = DEFAULT.evict_score
    retrain_after: int = DEFAULT.retrain_after
    flip: bool = False
    jitter: int = 0
    memory: int = 5 * 2**29
    seed: int = 0
    recipe: str = DEFAULT.name

    @property
    def passes(self) -> int:
        """How often the training goes over all images."""
        return 2 if self.mining == "single-pass" else 1 + self.mining_rounds


@dataclass(frozen=True)
class ImageWindows:
    """Proposals of one training image, its objects first, and their normalised features.

    ``negative`` (N, K): whether a proposal is a negative of each class. A proposal's number is its index here; of
    duplicates only the first is taken.
    """

    image: ImageRef
    boxes: Boxes
    negative: BoolArray
    features: UniqueWindows


def trained_classes(data: SplitData, wanted: tuple[str, ...], progress: Progress) -> tuple[str, ...]:
    """The classes to train, in order of name; each has at least one object in the split."""
    counts: dict[str, int] = dict.fromkeys(data.dataset.classes, 0)
    for image in data.images:
        truth = data.truth(image)
        for label, crowd in zip(truth.labels, truth.crowd, strict=True):
            counts[label] += not crowd
    where = f"split {data.split} of {data.dataset.root}"
    for name in wanted:
        if name not in counts:
            raise MissingInput(f"no object of class {name!r} in {data.dataset.root}; it has {', '.join(counts)}")
        if not counts[name]:
            raise BadInput(f"class {name!r} has no object in {where}: it cannot be trained; leave it out of --classes")
    empty = [name for name, count in counts.items() if not count]
    if not wanted and empty and len(empty) < len(counts):
        progress.warn(f"no object of {', '.join(empty)} in {where}: not trained, and not detected later")
    chosen = tuple(sorted(wanted or (name for name, count in counts.items() if count)))
    if not chosen:
        raise BadInput(f"there is no object in {where}; annotate some or choose another --split")
    return chosen


class SvmTrainer:
    """One training: positives and random negatives first, then mining passes over all images.

    ``mine``: those of ``classes`` that are trained here. Each becomes what it does where all are trained: whatever is
    drawn is drawn for all, and the matrix product that scores an image has a column for each.
    """

    def __init__(
        self,
        data: SplitData,
        reader: WindowReader,
        config: TrainSvmConfig,
        classes: tuple[str, ...],
        progress: Progress,
        mine: tuple[str, ...] | None = None,
    ) -> None:
        self.data = data
        self.reader = reader
        self.config = config
        self.classes = classes
        self.mine = classes if mine is None else mine
        self.progress = progress
        self.random = np.random.default_rng(config.seed)
        dimensions = reader.dimensions(data.maps(data.images[0]))
        wide = max(dimensions, reader.pooled)
        room = for_samples(config.memory, wide, data.most_windows(), reader.head_bytes)
        self.budget = SvmBudget(room, dimensions, len(classes))

    def train(self) -> tuple[Normaliser, list[ClassMiner]]:
        normaliser = measure_normaliser(self.data, self.reader, self.config.windows, self.random)
        miners = self._first_samples(normaliser)
        if self.config.mining == "single-pass":
            self._mine(miners, normaliser, "single pass")
            return normaliser, miners
        self.progress.start(len(miners), "classes")
        for _ in self._fit(miners):
            self.progress.advance()
        for number in range(self.config.mining_rounds):
            self._mine(miners, normaliser, f"mining round {number + 1}")
        return normaliser, miners

    def _fit(self, miners: Sequence[ClassMiner]) -> Iterator[ClassMiner]:
        """Train each, several at a time if CPUs, memory and work suffice, and yield them as they end."""
        if not miners:
            return
        samples = [miner.samples for miner in miners]
        processes = min(len(miners), cpu_threads(), self.budget.at_once(samples))
        if sum(samples) * self.budget.dimensions < PARALLEL_FROM:
            processes = 1
        models = fit_svms([miner.problem() for miner in miners], miners[0].svm, processes)
        for miner, size in zip(miners, samples, strict=True):
            self.progress.note(f"training {miner.name} on {size} samples")
            miner.set_model(next(models))
            self.progress.note("")
            if miner.model and not miner.model.converged:
                self.progress.warn(
                    f"the SVM of {miner.name} had not converged after {miner.svm.max_sweeps} sweeps; try a smaller --c"
                )
            yield miner

    def _first_samples(self, normaliser: Normaliser) -> list[ClassMiner]:
        """Every object as a positive of its class, and a few random negatives from each image."""
        single_pass = self.config.mining == "single-pass"
        per_image = 0 if single_pass else math.ceil(self.config.first_negatives / max(1, len(self.data.images)))
        miners, drawn = self._miners()
        seen = dict.fromkeys(self.mine, 0)
        filled = dict.fromkeys(self.mine, 0)
        by_name = {miner.name: miner for miner in miners}
        self.progress.start(len(self.data.images), "images")
        for image in self.data.images:
            truth, maps = self.data.truth(image), self.data.maps(image)
            boxes = self.data.objects_and_windows(image)
            negative = self._negative(image, boxes)
            # Drawn among proposals that are negatives of some class, most often of all.
            firsts = self.reader.firsts(maps, boxes) if per_image else np.zeros(0, np.int64)
            candidates = firsts[negative[firsts].any(axis=1)]
            chosen = np.sort(self.random.permutation(candidates)[:per_image])
            near = jittered(truth.boxes, self.config.jitter, *maps.size, self.random)
            read = np.concatenate([truth.boxes, near, boxes[chosen]])
            features = normaliser.apply(self.reader.features(maps, read))
            owner = [*range(len(truth.labels)), *np.repeat(np.arange(len(truth.labels)), self.config.jitter).tolist()]
            for i, of in enumerate(owner):
                label = truth.labels[of]
                if label in by_name and not truth.crowd[of]:
                    if drawn[label][seen[label]]:
                        by_name[label].positives[filled[label]] = features[i]
                        filled[label] += 1
                    seen[label] += 1
            negatives = features[len(owner) :]
            for miner in miners:
                allowed = negative[chosen, self.classes.index(miner.name)]
                miner.add(image, chosen[allowed], negatives[allowed])
            self.progress.advance()
        for miner in miners:
            if not miner.negatives and not single_pass:
                raise BadInput(
                    f"no region proposal of split {self.data.split} is a negative of {miner.name}; add images"
                )
        return miners

    def _miners(self) -> tuple[list[ClassMiner], dict[str, BoolArray]]:
        """One miner per class with room for its positives, and which positives are drawn, in order of the images."""
        svm = SvmSettings(
            c=self.config.c,
            positive_weight=self.config.positive_weight,
            bias_feature=self.config.bias_feature,
            seed=self.config.seed,
        )
        counts = dict.fromkeys(self.classes, 0)
        for image in self.data.images:
            truth = self.data.truth(image)
            for label, crowd in zip(truth.labels, truth.crowd, strict=True):
                if label in counts and not crowd:
                    counts[label] += 1 + self.config.jitter
        limit = self.budget.samples
        miners, drawn = [], {}
        for name, count in counts.items():
            used = np.zeros(count, dtype=np.bool_)
            used[self.random.permutation(count)[: limit // 2] if count > limit // 2 else slice(None)] = True
            if name not in self.mine:
                continue
            if count > limit // 2:
                self.progress.warn(
                    f"{name} has {count} objects, more than --memory has room for: {limit // 2} are drawn"
                )
            positives = np.empty((int(used.sum()), self.budget.dimensions), np.float16)
            # A pass may hold a quarter more than the capacity before it lets some go.
            capacity = max(1, (limit - len(positives)) * 4 // 5)
            retrain_after = self.config.retrain_after if self.config.mining == "single-pass" else None
            mining = MiningSettings(
                hard_score=self.config.hard_score,
                evict_score=self.config.evict_score,
                retrain_after=retrain_after,
                capacity=capacity,
                per_image=self.config.hard_per_image,
            )
            miners.append(ClassMiner(name, positives, svm, mining))
            drawn[name] = used
        return miners, drawn

    def _negative(self, image: ImageRef, boxes: Boxes) -> BoolArray:
        """(N, K): whether each of ``boxes`` (N, 4) is a negative of each class."""
        return match(boxes, self.data.truth(image), self.classes).negatives(self.config.negative_iou)

    def _passes(self, normaliser: Normaliser) -> Iterator[ImageWindows]:
        def load(image: ImageRef) -> ImageWindows:
            boxes = self.data.objects_and_windows(image)
            features = self.reader.unique(self.data.maps(image), boxes)
            normaliser.apply(features.values)
            return ImageWindows(image, boxes, self._negative(image, boxes), features)

        # While one image is scored, the next is pooled.
        yield from prefetch(load, self.data.images, ahead=2)

    def _mine(self, miners: list[ClassMiner], normaliser: Normaliser, what: str) -> None:
        """One pass over all images. Scores are those of the models as they are at the start of each image.

        A class without a model (the first image of a single pass) takes every negative and is trained at once.
        """
        self.progress.start(len(self.data.images), "images")
        self.progress.note(what)
        # The classes that are trained elsewhere have a model from the first image on that shows a negative of them.
        elsewhere = {k: self.config.mining == "rounds" for k, name in enumerate(self.classes) if name not in self.mine}
        models = self._models(miners, elsewhere)
        for image in self._passes(normaliser):
            for miner, windows in zip(miners, self._candidates(miners, models, image), strict=True):
                miner.add(image.image, windows, image.features.values, image.features.rows[windows])
            due = [miner for miner in miners if miner.due() or (miner.model is None and miner.negatives)]
            new = [k for k, has in elsewhere.items() if not has and image.negative[image.features.firsts, k].any()]
            elsewhere |= dict.fromkeys(new, True)
            if list(self._fit(due)) or new:
                models = self._models(miners, elsewhere)
            self.progress.advance()
        for miner in miners:
            if not miner.negatives:
                raise BadInput(
                    f"no region proposal of split {self.data.split} is a negative of {miner.name}; add images"
                )
        list(self._fit(miners))

    def _models(self, miners: Sequence[ClassMiner], elsewhere: Mapping[int, bool]) -> _Models:
        nothing = LinearModel(np.zeros(self.budget.dimensions, np.float32), 0.0)
        trained = {k: nothing for k, has in elsewhere.items() if has}
        trained |= {self.classes.index(miner.name): miner.model for miner in miners if miner.model}
        return _Models(trained, self.budget.dimensions)

    def _candidates(self, miners: list[ClassMiner], models: _Models, image: ImageWindows) -> Iterator[Int64]:
        """For each class, the proposals of an image that are to join its negatives."""
        from sppcli.geometry.nms import nms

        features = image.features
        scores = features.values @ models.weights.T + models.biases
        different = np.sort(features.firsts)
        for miner in miners:
            k = self.classes.index(miner.name)
            windows = different[image.negative[different, k]]
            if miner.model is None:
                yield windows
                continue
            mine = scores[features.rows, models.columns[k]]
            chosen = windows[miner.hard(image.image, windows, mine[windows])]
            if self.config.duplicate_iou < 1:
                chosen = chosen[nms(image.boxes[chosen], mine[chosen], self.config.duplicate_iou)]
            yield chosen[: miner.mining.per_image] if self.config.mining == "rounds" else chosen


class _Models:
    """The models of the classes that have one, in order: weights (K, D) and biases (K,), for one product per image.

    ``trained``: those models by the number of their class; ``columns``: the column of the product of each. A class that
    is trained elsewhere has zeros: with as many columns the product rounds as it does where all are trained.
    """

    def __init__(self, trained: Mapping[int, LinearModel], dimensions: int) -> None:
        self.columns = {k: column for column, k in enumerate(sorted(trained))}
        self.weights = np.zeros((len(trained), dimensions), np.float32)
        self.biases = np.zeros(len(trained), np.float32)
        for k, column in self.columns.items():
            self.weights[column], self.biases[column] = trained[k].weights, trained[k].bias
