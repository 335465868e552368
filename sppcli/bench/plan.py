"""How long a stage will take on many machines, from its times on a sample here: arithmetic, no engine and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

SHARDS_PER_WORKER = 8


@dataclass(frozen=True)
class Sample:
    """What one process took for a stage, in seconds, run after run.

    ``first``: over one image, before anything was loaded; ``many``: over ``images``; ``one``: over one image again;
    ``merged`` and ``merged_one``: for joining the shards of these two. ``memory``: its largest, in bytes.
    """

    images: int
    first: float
    many: float
    one: float
    merged: float
    merged_one: float
    memory: int

    @property
    def of_images(self) -> float:
        """Seconds that are the images' own, beyond the first's."""
        return max(0.0, self.many - self.one)


@dataclass(frozen=True)
class Rates:
    """What one worker does of a stage.

    ``start``: seconds before a worker's first shard, once; ``per_shard``: before the first image of a shard;
    ``per_image``: of a worker; ``merging``: of the command, for each image; ``memory``: bytes; ``read`` and
    ``written``: bytes per image; ``scratch``: bytes per image that are there besides while a shard is made.
    """

    stage: str
    start: float
    per_shard: float
    per_image: float
    merging: float
    memory: int
    read: float
    written: float
    scratch: float = 0.0

    @classmethod
    def of(cls, stage: str, samples: Sequence[Sample], read: float, written: float, with_parts: bool) -> Rates:
        """Means of what several processes took.

        Runs in one process are compared with each other: how long it took to load the program, some seconds and never
        the same, would drown what a few dozen small images take.

        ``with_parts``: whether the parts of the file are kept until it is whole.
        """
        per_image = _mean(item.of_images / max(1, item.images - 1) for item in samples)
        per_image = max(per_image, 1e-6)
        merging = _mean(max(0.0, item.merged - item.merged_one) / max(1, item.images - 1) for item in samples)
        per_shard = max(0.0, _mean(item.one for item in samples) - per_image)
        start = max(0.0, _mean(item.first - item.one for item in samples))
        memory = max(item.memory for item in samples)
        scratch = written if with_parts else 0.0
        return cls(stage, start, per_shard, per_image, merging, memory, read, written, scratch)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


@dataclass(frozen=True)
class Forecast:
    """A stage over all images: ``hours`` from start to end and ``work`` hours of one worker; bytes in all, but for
    ``memory`` of one worker; ``network``: bytes per second that all workers together read and write; ``merging``: hours
    of the command, at the end, which are among ``hours``."""

    stage: str
    images: int
    workers: int
    shards: int
    hours: float
    work: float
    disk: float
    scratch: float
    network: float
    memory: int
    merging: float = 0.0


def forecast(rates: Rates, images: int, workers: int, shards_per_worker: int = SHARDS_PER_WORKER) -> Forecast:
    """What a run with ``workers`` will take.

    A worker starts once and does its shards one after the other. At the end workers wait for the last shards, on
    average half of one; then the command merges them. (Shards by hand, each a process of its own, start each.)
    """
    shards = max(1, min(images, shards_per_worker * workers)) if workers > 1 else 1
    working = min(workers, shards)
    work = images * rates.per_image + shards * rates.per_shard + working * rates.start
    seconds = work / working
    merging = 0.0
    if working > 1:
        seconds += 0.5 * (work - working * rates.start) / shards
        merging = images * rates.merging
    moved = images * (rates.read + rates.written)
    return Forecast(
        rates.stage,
        images,
        workers,
        shards,
        (seconds + merging) / 3600,
        work / 3600,
        images * rates.written,
        images * rates.scratch / shards * working,
        moved / seconds,
        rates.memory,
        merging / 3600,
    )
