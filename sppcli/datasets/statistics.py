"""How many objects a data set has in each class and split, and how large images and objects are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.datasets.annotated import AnnotatedImage, LabelledBox, clipped

QUANTILES = (0, 5, 50, 95, 100)
"""Percentiles of `Spread`."""

Spread = tuple[float, ...]
Size = tuple[int, int]


@dataclass(frozen=True)
class ClassCount:
    """Objects of one class that can be used: ``objects`` in all images, ``splits`` in each split.

    ``difficult``: of ``objects``, those that are marked difficult or as a crowd; ``examples``: split -> the others.
    """

    objects: int
    difficult: int
    splits: Mapping[str, int]
    examples: Mapping[str, int]


@dataclass(frozen=True)
class Statistics:
    """Counts and sizes. Widths, heights and sides are in pixels; a `Spread` holds the percentiles `QUANTILES`.

    ``images``: all; ``annotated``: those with an annotation; ``empty``: of these, those without a usable object.
    ``image_sizes``: ((width, height), images), the most frequent first; ``spreads``: name -> percentiles.
    ``sides``: (N,) float64, the square root of each object's area.
    """

    images: int
    annotated: int
    empty: int
    splits: Mapping[str, int]
    classes: Mapping[str, ClassCount]
    image_sizes: tuple[tuple[Size, int], ...]
    sides: npt.NDArray[np.float64]
    spreads: Mapping[str, Spread]

    @property
    def objects(self) -> int:
        return sum(count.objects for count in self.classes.values())

    def histogram(self) -> tuple[tuple[int, int, int], ...]:
        """(from, to, objects): objects whose side is at least ``from`` and less than ``to`` pixels.

        Powers of two and, where these are fewer than seven bins, the whole numbers halfway between: 32, 48, 64.
        """
        if not len(self.sides):
            return ()
        powers = np.floor(np.log2(np.maximum(self.sides, 1))).astype(int)
        edges = [2**power for power in range(int(powers.min()), int(powers.max()) + 2)]
        if len(edges) < 8 and edges[0] > 1:
            edges = sorted({*edges, *(3 * edge // 2 for edge in edges[:-1])})
        bins = np.searchsorted(edges, np.maximum(self.sides, 1), side="right")
        counts = np.bincount(bins, minlength=len(edges) + 1)[1:-1].tolist()
        last = max(i for i, count in enumerate(counts) if count)
        return tuple(zip(edges[: last + 1], edges[1 : last + 2], counts[: last + 1], strict=True))


def usable(thing: LabelledBox, size: Size | None, least_side: float) -> bool:
    """Whether an object is read: it has extent and lies in the image, at least in part."""
    x0, y0, x1, y1 = thing.box
    if x1 - x0 <= least_side or y1 - y0 <= least_side:
        return False
    x0, y0, x1, y1 = clipped(thing.box, size) if size else thing.box
    return x1 > x0 and y1 > y0


def measure(
    records: Sequence[AnnotatedImage],
    sizes: Mapping[str, Size],
    splits: Mapping[str, Iterable[str]],
    least_side: float = 0.0,
) -> Statistics:
    """Count ``records``: all images with their objects as written.

    Args:
        sizes: image id -> width and height of its file, where that can be read.
        splits: split -> image ids.
        least_side: as of `Dataset`.
    """
    member: dict[str, list[str]] = {}
    members = {name: tuple(ids) for name, ids in splits.items()}
    for name, ids in members.items():
        for image_id in ids:
            member.setdefault(image_id, []).append(name)
    objects: Counter[str] = Counter()
    difficult: Counter[str] = Counter()
    by_split: Counter[tuple[str, str]] = Counter()
    easy: Counter[tuple[str, str]] = Counter()
    extents: list[tuple[float, float]] = []
    empty = 0
    for record in records:
        size = sizes.get(record.id, record.size)
        things = [thing for thing in record.objects or () if usable(thing, size, least_side)]
        empty += record.objects is not None and not things
        for thing in things:
            hard = thing.difficult or thing.crowd
            objects[thing.label] += 1
            difficult[thing.label] += hard
            for name in member.get(record.id, ()):
                by_split[thing.label, name] += 1
                easy[thing.label, name] += not hard
            x0, y0, x1, y1 = clipped(thing.box, size) if size else thing.box
            extents.append((x1 - x0, y1 - y0))
    classes = {
        label: ClassCount(
            objects[label],
            difficult[label],
            {name: by_split[label, name] for name in members},
            {name: easy[label, name] for name in members},
        )
        for label in sorted(objects)
    }
    shown = [sizes[record.id] for record in records if record.id in sizes]
    ordered = sorted(Counter(shown).items(), key=lambda item: (-item[1], item[0]))
    width, height = np.array(extents, dtype=np.float64).reshape(-1, 2).T
    columns = {
        "image width": np.array([size[0] for size in shown], dtype=np.float64),
        "image height": np.array([size[1] for size in shown], dtype=np.float64),
        "object width": width,
        "object height": height,
    }
    return Statistics(
        images=len(records),
        annotated=sum(record.objects is not None for record in records),
        empty=empty,
        splits={name: len(ids) for name, ids in members.items()},
        classes=classes,
        image_sizes=tuple(ordered),
        sides=np.sqrt(width * height),
        spreads={name: _spread(values) for name, values in columns.items() if len(values)},
    )


def _spread(values: npt.NDArray[np.float64]) -> Spread:
    return tuple(float(value) for value in np.percentile(values, QUANTILES))
