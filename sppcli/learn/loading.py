"""Loads images for training: threads decode and resize them, as many as fit stay in memory, batches are made ahead.

Decoding and resizing leave Python's lock, so threads keep the cores busy without copies between processes.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sppcli.images import read_image, shorter_side
from sppcli.learn.augment import Draws, centred, crops
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.prefetch import prefetch
from sppcli.structures import ByteImage, IntArray


class Samples(Protocol):
    """Labelled images to train on, each at least as large as the largest input size."""

    @property
    def labels(self) -> IntArray: ...

    def image(self, index: int) -> ByteImage:
        """Image (H, W, 3) uint8 RGB. Called from several threads at once."""


@dataclass(frozen=True)
class InMemory:
    """Samples held as arrays: ``images`` (N, S, S, 3) uint8, ``labels`` (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> ByteImage:
        pixels: ByteImage = self.images[index]
        return pixels


class ImageFiles:
    """Samples in files, which are decoded and resized to a shorter side of ``side`` pixels.

    The first ``cache_bytes`` of them stay in memory; what does not fit is decoded again in each epoch.

    Raises (from ``image``):
        MissingInput, BadInput: a file that is gone or cannot be decoded.
    """

    def __init__(self, paths: Sequence[Path], labels: IntArray, side: int, cache_bytes: int = 2 << 30) -> None:
        self.labels = labels
        self._paths = tuple(paths)
        self._side = side
        self._room = cache_bytes
        self._kept: dict[int, ByteImage] = {}
        self._lock = threading.Lock()

    def image(self, index: int) -> ByteImage:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        pixels = shorter_side(read_image(self._paths[index]), self._side)
        with self._lock:
            if self._room >= pixels.nbytes and index not in self._kept:
                self._room -= pixels.nbytes
                self._kept[index] = pixels
        return pixels


@dataclass(frozen=True)
class Batch:
    """Crops (B, S, S, 3) uint8, labels (B,), and how their colours are altered."""

    images: ByteImage
    labels: IntArray
    draws: Draws


def batches(samples: Samples, work: Iterable[tuple[IntArray, Draws | None]], side: int) -> Generator[Batch, None, None]:
    """Make the batches of ``work``, (sample indices, choices or None for centre crops) each, in order and in
    advance."""
    threads = cpu_threads()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:

        def make(item: tuple[IntArray, Draws | None]) -> Batch:
            indices, draws = item
            parts = pool.map(lambda part: [samples.image(int(i)) for i in part], np.array_split(indices, threads))
            images = [image for part in parts for image in part]
            draws = draws or centred(len(indices))
            return Batch(crops(images, side, draws), samples.labels[indices], draws)

        yield from prefetch(make, work, ahead=3)
