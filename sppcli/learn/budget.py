"""How many samples fit into an amount of memory, and how many trainings can run at once.

A training process holds the program itself, the features of the images that are being pooled and scored (float32), the
samples of every class (float16), and for each class in training a copy of its samples (`TRAINED` bytes per number).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = 300 * 2**20
"""Bytes of Python, the libraries, the lists of proposals and annotations, and the conv maps of an image."""

TORCH = 500 * 2**20
"""Bytes that fc layers take besides their weights: the library that runs them."""

IMAGES = 3
"""Images whose features are held at once: one is scored, one waits and one is pooled."""

TRAINED = 8 + 16
"""Bytes per number of a sample in training: in float64, and with its index in liblinear's own list if it is not 0."""

WORKER = 150 * 2**20
"""Bytes of each further training process: Python and scikit-learn."""

LEAST = 100
"""Samples that a class may hold however little memory there is."""


def for_samples(memory: int, dimensions: int, windows: int, head: int = 0) -> int:
    """Bytes of ``memory`` that the program and the images leave for samples; not negative.

    ``dimensions``: the most numbers that a region has at any step; ``windows``: the most regions of an image; ``head``:
    bytes of the fc layers, 0 without any.
    """
    return max(0, memory - PROGRAM - (TORCH + head if head else 0) - IMAGES * windows * dimensions * 4)


@dataclass(frozen=True)
class SvmBudget:
    """Memory of the SVMs of ``classes`` classes on ``dimensions`` numbers; ``room``: bytes from `for_samples`."""

    room: int
    dimensions: int
    classes: int

    @property
    def samples(self) -> int:
        """Samples that a class may hold, so that all classes can be full in float16 while one of them is trained.

        It does not depend on the number of threads, which would make the result depend on it.
        """
        each = self.dimensions * (2 * self.classes + TRAINED)
        return max(LEAST, self.room // each)

    def at_once(self, samples: Sequence[int]) -> int:
        """Number of classes, at least 1, that can be trained at once in a process each, on so many ``samples``."""
        free = self.room - self.classes * self.samples * self.dimensions * 2
        largest = max(samples, default=0) * self.dimensions
        if largest * TRAINED + WORKER > free / 2:
            return 1
        # Each process also has a copy of the samples, in which they are handed over.
        return free // (largest * (TRAINED + 2) + WORKER)
