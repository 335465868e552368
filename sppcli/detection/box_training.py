"""Fits bounding-box regression of each class on region proposals and objects: what `spp train-bbox` runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.detection.labelling import match
from sppcli.detection.split import SplitData
from sppcli.detection.training_plan import Training, WindowSettings, measure_normaliser
from sppcli.features.normalise import Normaliser
from sppcli.geometry.regression import encode, widened
from sppcli.learn.budget import for_samples
from sppcli.learn.ridge import MINIMUM_EXAMPLES, Moments, Whitening, plan_ridge
from sppcli.paper import DEFAULT
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import Progress
from sppcli.structures import BoolArray, Boxes, FloatArray, ImageRef

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrainBboxConfig:
    """``flip``: learn from mirror images too; ``memory``: bytes for the whole process, see `learn.budget`.

    What is not said here is as in `paper.Recipe`.
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    split: str = "trainval"
    min_iou: float = DEFAULT.min_iou
    strict_iou: bool = DEFAULT.strict_iou
    ridge: float = DEFAULT.ridge
    box_width: str = DEFAULT.box_width
    flip: bool = False
    memory: int = 5 * 2**29
    seed: int = 0
    recipe: str = DEFAULT.name


@dataclass(frozen=True)
class RegressorSummary:
    """``examples`` used of ``found``; root mean square of the centre and size targets before and after, on them."""

    name: str
    found: int
    examples: int
    error_before: float | None
    error_after: float | None


@dataclass(frozen=True)
class Examples:
    """Examples of one image: boxes (N, 4), the targets (N, 4) that lead to their objects, their class indices (N,)."""

    image: ImageRef
    boxes: Boxes
    targets: Float64
    labels: Int64


class FoundExamples:
    """The examples of a data, found anew in each pass: boxes alone cost little, and nothing grows with the images."""

    def __init__(self, data: SplitData, classes: tuple[str, ...], config: TrainBboxConfig) -> None:
        self.data = data
        self.classes = classes
        self.config = config
        counts = np.zeros(len(classes), np.int64)
        for image in data.images:
            counts += np.bincount(self._of(image).labels, minlength=len(classes))
        self.counts: list[int] = counts.tolist()

    def passing(self, used: Sequence[int]) -> Iterator[Examples]:
        """Of each image in turn, those that are used: of class k ``used[k]``, drawn evenly, the same in each pass."""
        random = np.random.default_rng(self.config.seed)
        drawn: dict[int, BoolArray] = {}
        for k, (count, some) in enumerate(zip(self.counts, used, strict=True)):
            if some < count:
                drawn[k] = np.zeros(count, np.bool_)
                drawn[k][random.permutation(count)[:some]] = True
        seen = [0] * len(used)
        for image in self.data.images:
            examples = self._of(image)
            kept = np.ones(len(examples.labels), np.bool_)
            for k, mask in drawn.items():
                mine = examples.labels == k
                count = int(mine.sum())
                kept[mine] = mask[seen[k] : seen[k] + count]
                seen[k] += count
            yield Examples(image, examples.boxes[kept], examples.targets[kept], examples.labels[kept])

    def _of(self, image: ImageRef) -> Examples:
        """Objects and region proposals that overlap their object well, each with the object it is matched to."""
        config = self.config
        truth = self.data.truth(image)
        boxes = self.data.objects_and_windows(image)
        found = match(boxes, truth, self.classes)
        good = found.positives(config.min_iou, config.strict_iou)
        sides = widened(boxes[good], config.box_width)
        objects = widened(truth.boxes[found.match[good]], config.box_width)
        # A region or an object of no width or height has no regression targets: "inclusive" sees one pixel so.
        solid = (sides[:, 2:] > sides[:, :2]).all(axis=1) & (objects[:, 2:] > objects[:, :2]).all(axis=1)
        good = good[solid]
        return Examples(image, boxes[good], encode(sides[solid], objects[solid]), found.label[good])


class BoxTrainer:
    """The regressors of all classes, or of those in ``mine``, from one pass over the features.

    Which examples of a class are used, and in which form it is solved, follows from those of all classes.
    """

    def __init__(
        self,
        training: Training,
        data: SplitData,
        found: FoundExamples,
        config: TrainBboxConfig,
        progress: Progress,
        mine: tuple[str, ...] | None = None,
    ) -> None:
        self.mine = found.classes if mine is None else mine
        self.data = data
        self.reader = training.reader
        self.found = found
        self.config = config
        self.progress = progress
        self.dimensions = self.reader.dimensions(data.maps(data.images[0]))
        wide = max(self.dimensions, self.reader.pooled)
        room = for_samples(config.memory, wide, data.most_windows(), self.reader.head_bytes)
        self.plan = plan_ridge(found.counts, self.dimensions, room)

    def train(self) -> tuple[Normaliser, dict[str, npt.NDArray[Any]], list[RegressorSummary]]:
        classes = self.found.classes
        moments = [Moments() for _ in classes]
        mine = [k for k, name in enumerate(classes) if name in self.mine]
        for examples in self.found.passing(self.plan.used):
            for k in np.unique(examples.labels).tolist():
                moments[k].add(examples.targets[examples.labels == k])
        whitenings: list[Whitening | None] = [None] * len(classes)
        for k in mine:
            if moments[k].count < MINIMUM_EXAMPLES:
                self.progress.warn(
                    f"{classes[k]} has {moments[k].count} examples, fewer than {MINIMUM_EXAMPLES}: its boxes stay as "
                    "they are"
                )
            else:
                whitenings[k] = Whitening(moments[k])
        rng = np.random.default_rng(self.config.seed)
        normaliser = measure_normaliser(self.data, self.reader, self.config.windows, rng)
        systems = [
            self.plan.system(k, self.dimensions) if whitening else None for k, whitening in enumerate(whitenings)
        ]
        self.progress.start(len(self.data.images), "images")
        for examples, features in self._features(normaliser):
            for k in np.unique(examples.labels).tolist():
                system, whitening = systems[k], whitenings[k]
                if system and whitening:
                    of_class = examples.labels == k
                    system.add(features[of_class], whitening.apply(examples.targets[of_class]))
            self.progress.advance()
        arrays = _no_regressors(len(mine), self.dimensions)
        rows = []
        self.progress.start(len(mine), "classes")
        for row, k in enumerate(mine):
            # What a class held goes before the next one is solved.
            system, whitening, systems[k] = systems[k], whitenings[k], None
            before = after = None
            if system and whitening:
                solution, residuals = system.solve(self.config.ridge)
                model = whitening.regressor(solution)
                arrays["weights"][row], arrays["biases"][row] = model.weights, model.bias
                arrays["unwhiten"][row], arrays["means"][row] = model.unwhiten, model.mean
                arrays["trained"][row] = True
                before, after = moments[k].error(), whitening.error(residuals, moments[k].count)
            rows.append(RegressorSummary(classes[k], self.found.counts[k], moments[k].count, before, after))
            self.progress.advance()
        return normaliser, arrays, rows

    def _features(self, normaliser: Normaliser) -> Iterator[tuple[Examples, FloatArray]]:
        numbers = [k for k, name in enumerate(self.found.classes) if name in self.mine]

        def load(examples: Examples) -> tuple[Examples, FloatArray]:
            if not np.isin(examples.labels, numbers).any():
                return examples, np.zeros((0, self.dimensions), np.float32)
            return examples, normaliser.apply(self.reader.features(self.data.maps(examples.image), examples.boxes))

        yield from prefetch(load, self.found.passing(self.plan.used), ahead=2)


def _no_regressors(classes: int, dimensions: int) -> dict[str, npt.NDArray[Any]]:
    return {
        "weights": np.zeros((classes, 4, dimensions), np.float32),
        "biases": np.zeros((classes, 4), np.float32),
        "unwhiten": np.zeros((classes, 4, 4), np.float32),
        "means": np.zeros((classes, 4), np.float32),
        "trained": np.zeros(classes, np.bool_),
    }
