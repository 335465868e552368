"""How many samples fit into an amount of memory, and how many trainings at once.

Bytes that a training process holds: the program itself, the windows of the images that are pooled and scored just now
(float32), the samples of every class (float16), and what is trained on (`TRAINED`), a class a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = 300 * 2**20
"""Python, the libraries, the lists of windows and annotations, the conv maps of an image."""

TORCH = 500 * 2**20
"""What fc layers take beside their weights: the library that runs them."""

IMAGES = 3
"""Images whose windows are held at once: one being scored, one waiting, one being pooled."""

TRAINED = 8 + 16
"""Bytes of a number that is trained on: in float64, and with its index in liblinear's own list if it is not 0."""

WORKER = 150 * 2**20
"""Another process that trains: Python and scikit-learn."""

LEAST = 100
"""Samples that a class may hold whatever the memory."""


def for_samples(memory: int, dimensions: int, windows: int, head: int = 0) -> int:
    """What ``memory`` leaves beside the program and the images; not negative.

    ``dimensions``: the most numbers that a window has on its way; ``windows`` of an image at most; ``head``: bytes of
    the fc layers, 0 without.
    """
    return max(0, memory - PROGRAM - (TORCH + head if head else 0) - IMAGES * windows * dimensions * 4)


@dataclass(frozen=True)
class SvmBudget:
    """Of SVMs of ``classes`` classes on ``dimensions`` numbers; ``room``: bytes for samples, see `for_samples`."""

    room: int
    dimensions: int
    classes: int

    @property
    def samples(self) -> int:
        """Samples that a class may hold: all classes full in float16, and one of them being trained.

        It does not depend on the number of threads, which would make the result depend on it.
        """
        each = self.dimensions * (2 * self.classes + TRAINED)
        return max(LEAST, self.room // each)

    def at_once(self, samples: Sequence[int]) -> int:
        """Classes that may be trained at the same time, a process each, on so many samples each; at least 1."""
        free = self.room - self.classes * self.samples * self.dimensions * 2
        largest = max(samples, default=0) * self.dimensions
        if largest * TRAINED + WORKER > free / 2:
            return 1
        # Each has a copy of the samples besides, to be handed over in.
        return free // (largest * (TRAINED + 2) + WORKER)
