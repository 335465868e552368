"""How long a stage will take on many machines, from its times on a sample here: arithmetic, no engine and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHARDS_PER_WORKER = 8


@dataclass(frozen=True)
class Run:
    """One run of a stage over ``images``: seconds from start to end, and the largest memory of its process in bytes."""

    images: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class Rates:
    """What one worker does of a stage.

    ``start``: seconds before the first image of a shard; ``per_image``: seconds; ``memory``: bytes; ``read`` and
    ``written``: bytes per image; ``scratch``: bytes per image that are there besides while a shard is made.
    """

    stage: str
    start: float
    per_image: float
    memory: int
    read: float
    written: float
    scratch: float = 0.0

    @classmethod
    def of(cls, stage: str, runs: Sequence[Run], read: float, written: float, with_parts: bool) -> Rates:
        """From runs over several numbers of images: the straight line through their times, by least squares.

        ``with_parts``: whether the parts of the file are kept until it is whole.
        """
        counts = np.array([run.images for run in runs], dtype=np.float64)
        times = np.array([run.seconds for run in runs])
        slope, start = np.polyfit(counts, times, 1)
        slope = max(float(slope), 1e-6)
        memory = max(run.memory for run in runs)
        return cls(stage, max(0.0, float(start)), slope, memory, read, written, written if with_parts else 0.0)


@dataclass(frozen=True)
class Forecast:
    """A stage over all images: ``hours`` from start to end and ``work`` hours of one worker; bytes in all, but for
    ``memory`` of one worker; ``network``: bytes per second that all workers together read and write."""

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


def forecast(rates: Rates, images: int, workers: int, shards_per_worker: int = SHARDS_PER_WORKER) -> Forecast:
    """What a run with ``workers`` will take.

    A worker does its shards one after the other, each with a start of its own. At the end workers wait for the last
    shards, on average half of one.
    """
    shards = max(1, min(images, shards_per_worker * workers)) if workers > 1 else 1
    working = min(workers, shards)
    work = images * rates.per_image + shards * rates.start
    seconds = work / working
    if working > 1:
        seconds += 0.5 * work / shards
    moved = images * (rates.read + rates.written)
    return Forecast(
        rates.stage,
        images,
        workers,
        shards,
        seconds / 3600,
        work / 3600,
        images * rates.written,
        images * rates.scratch / shards * working,
        moved / seconds,
        rates.memory,
    )
