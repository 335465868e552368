"""The input size and the learning rate of each epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sppcli.learn.augment import COLOURS, CROPS


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train. Defaults are the paper's: sizes 224 and 180, 70 epochs (ZF-5), rate 0.01 divided by 10 twice.

    Args:
        sizes: input sides in pixels, taken in turn, one epoch each; the first is the network's input size and the side
            of the crop.
        drawn: take each epoch's size at random from the smallest to the largest of ``sizes`` instead.
        epochs: most passes over the samples, all sizes together.
        batch: images per step, over all processes.
        learning_rate: at the start.
        schedule: "plateau" divides the rate by 10 when the error has not fallen for ``patience`` epochs, twice, and
            stops the third time; "steps" divides it after ``steps``.
        steps: shares of the epochs.
        momentum, weight_decay: SGD's.
        crop: "random", or "corners" for one of the four corners or the centre.
        flip: mirror half of the images.
        colour, strength: see `augment.draw`.
        seed: decides the initial weights, the order, the crops, the colours and the dropout.
    """

    sizes: tuple[int, ...] = (224, 180)
    drawn: bool = False
    epochs: int = 70
    batch: int = 128
    learning_rate: float = 0.01
    schedule: str = "plateau"
    patience: int = 5
    steps: tuple[float, ...] = (0.6, 0.85)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    crop: str = "random"
    flip: bool = True
    colour: str = "pca"
    strength: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sizes or max(self.sizes) != self.sizes[0]:
            raise ValueError(f"the first size must be the largest: {self.sizes}")
        for value, known in ((self.schedule, ("plateau", "steps")), (self.colour, COLOURS), (self.crop, CROPS)):
            if value not in known:
                raise ValueError(f"{value!r} is none of {', '.join(known)}")

    def size_at(self, epoch: int) -> int:
        """Input size of an epoch, counted from 0."""
        if self.drawn:
            return int(np.random.default_rng((self.seed, epoch)).integers(min(self.sizes), max(self.sizes) + 1))
        return self.sizes[epoch % len(self.sizes)]

    def step_rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0, by ``steps``."""
        return self.learning_rate * 0.1 ** sum(epoch >= round(step * self.epochs) for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Plateau:
    """Divides the rate by 10 when the error has stopped falling, twice (paper); the third time training is over.

    The error of an epoch is averaged with those of the ``window`` - 1 before it, so that sizes that take turns do not
    look like ups and downs. It has fallen when it is below the best by more than ``least`` of it.
    """

    patience: int
    window: int = 1
    least: float = 0.002
    drops: int = 0
    best: float = float("inf")
    waited: int = 0
    errors: list[float] = field(default_factory=list)

    def factor(self) -> float:
        """The factor of the first learning rate now."""
        return float(0.1 ** min(self.drops, 2))

    @property
    def over(self) -> bool:
        return self.drops > 2

    def record(self, error: float) -> None:
        """Record that an epoch has ended with ``error``."""
        self.errors = [*self.errors, error][-self.window :]
        if len(self.errors) < self.window:
            return
        mean = sum(self.errors) / self.window
        if mean < self.best * (1 - self.least):
            self.best, self.waited = mean, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.drops, self.waited = self.drops + 1, 0
