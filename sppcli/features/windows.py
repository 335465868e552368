"""Features of regions: from the conv maps of an image to one vector per region.

Two regions of an image are duplicates when `geometry.projection.project` gives them the same scale and the same cells
(inside the map, never empty): then, and only then, their features are equal whatever the maps hold. Pooling, mining and
measuring all count regions in this way. (The release compares `response_windows`, before crossed ends are mended and
cells are clamped to the map, so that it keeps a few regions with equal features twice.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sppcli.geometry.projection import CellGrid, cells_at, choose_scale
from sppcli.structures import FloatArray, Floats

if TYPE_CHECKING:
    import torch

    from sppcli.nets.backbones import FcHead

# Regions that go through fc layers together: enough of them for the weights (4096 x 12,800) to be read seldom.
BLOCK = 512


class Maps(Protocol):
    """Conv maps of one image at each scale; ``read`` gives (h, w, C), float16 as they are stored or float32."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def map_sizes(self) -> Sequence[tuple[int, ...]]: ...

    def read(self, scale_index: int) -> Floats: ...


@runtime_checkable
class Vectors(Protocol):
    """Features of one image's regions without maps, as R-CNN's are; ``of`` boxes (N, 4) gives (N, D) float32."""

    @property
    def size(self) -> tuple[int, int]: ...

    def of(self, boxes: npt.NDArray[np.floating]) -> FloatArray: ...


@dataclass(frozen=True)
class HeldMaps:
    """Maps that are in memory: those of a new image."""

    size: tuple[int, int]
    maps: tuple[Floats, ...]

    @property
    def map_sizes(self) -> Sequence[tuple[int, ...]]:
        return [value.shape[:2] for value in self.maps]

    def read(self, scale_index: int) -> Floats:
        return self.maps[scale_index]


@dataclass(frozen=True)
class UniqueWindows:
    """Features of regions, computed once for duplicates.

    ``values`` (M, D): one row for each distinct region; ``rows`` (N,) int64: the row of each region; ``firsts`` (M,)
    int64: the first region of each row.
    """

    values: Floats
    rows: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``values`` (M, ...) of the distinct regions -> (N, ...) of all regions; without duplicates, ``values``
        itself."""
        if len(self.rows) == len(values) and (self.rows == np.arange(len(values))).all():
            return values
        return np.asarray(values[self.rows])

    def of(self, windows: npt.NDArray[np.int64]) -> Floats:
        """Features (n, D) of the regions with these indices."""
        return self.values[self.rows[windows]]


@dataclass(frozen=True)
class WindowReader:
    """Turns regions into features: chooses the scale and the cells of each, pools them, and runs fc layers.

    ``layer``: pool5 (the pooled vector itself) or a layer of ``head``. `Vectors` are features already and are taken as
    they are. ``device``: where the ``head`` is and regions are pooled for it; None for the compiled pooling, which
    pool5 always takes.
    """

    scales: tuple[int, ...]
    grid: CellGrid
    input_size: float
    channels: int
    levels: tuple[int, ...]
    scale_rule: str = "pixels"
    layer: str = "pool5"
    head: FcHead | None = None
    device: torch.device | None = None

    def features(
        self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating], which: npt.NDArray[np.int64] | None = None
    ) -> FloatArray:
        """One row per box, float32: (N, bins * C) for pool5, else (N, units of the layer).

        ``which`` (N,): indices of the scales to read the boxes at, in place of their best.
        """
        unique = self.unique(maps, boxes, which)
        return unique.spread(unique.values)

    def unique(
        self,
        maps: Maps | Vectors,
        boxes: npt.NDArray[np.floating],
        which: npt.NDArray[np.int64] | None = None,
        dtype: type[np.float16 | np.float32] = np.float32,
    ) -> UniqueWindows:
        """As `features`, each distinct region computed once. ``dtype``: float16 for pooled vectors to be stored."""
        keys = self.keys(maps, boxes, which)
        firsts, rows = _unique(keys)
        if isinstance(maps, Vectors):
            order = np.argsort(firsts)
            firsts, rows = firsts[order], np.argsort(order)[rows]
            return UniqueWindows(maps.of(boxes[firsts]).astype(dtype, copy=False), rows, firsts)
        # Regions are sorted by scale and then from the top, so that each map is read once, in order.
        which, cells = keys[firsts, 0], keys[firsts][:, [2, 1, 4, 3]]
        if self.layer != "pool5":
            return UniqueWindows(self._through_head(maps, which, cells).astype(dtype, copy=False), rows, firsts)
        return UniqueWindows(self._compiled(maps, which, cells, dtype), rows, firsts)

    def dimensions(self, maps: Maps | Vectors) -> int:
        """Length of a region's feature vector."""
        return int(self.features(maps, np.zeros((0, 4), np.float32)).shape[1])

    @property
    def head_bytes(self) -> int:
        """Bytes of the fc layers; 0 without any."""
        if self.head is None:
            return 0
        whole = sum(weight.nbytes + bias.nbytes for weight, bias in self.head.layers.values())
        return whole + sum(weight.nbytes for weight in self.head.narrow.values())

    @property
    def pooled(self) -> int:
        """Length of a region's pooled vector, before any fc layer."""
        return sum(n * n for n in self.levels) * self.channels

    def keys(
        self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating], which: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.int64]:
        """(N, 5): index of the scale and cells y0 x0 y1 x1. Regions with equal rows are duplicates.

        For `Vectors`, (N, 4): the bits of the boxes.
        """
        if isinstance(maps, Vectors):
            return np.ascontiguousarray(boxes, dtype=np.float32).view(np.int32).astype(np.int64)
        height, width = maps.size
        if which is None:
            which = choose_scale(boxes, height, width, self.scales, self.input_size, self.scale_rule)
        cells = cells_at(boxes, height, width, self.scales, maps.map_sizes, self.grid, which)
        return np.concatenate([which[:, None], cells[:, [1, 0, 3, 2]]], axis=1)

    def firsts(self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """Ascending indices of the regions that are no duplicate of an earlier one."""
        return np.sort(_unique(self.keys(maps, boxes))[0])

    def _through_head(self, maps: Maps, which: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]) -> FloatArray:
        """Output (M, units) of the layer, computed in blocks of regions so that the pooled vectors stay small."""
        import torch

        assert self.head is not None
        output = np.empty((len(cells), len(self.head.layers[self.layer][1])), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(cells), BLOCK):
                block = slice(start, start + BLOCK)
                pooled = self._pooled(maps, which[block], cells[block])
                output[block] = self.head.run(pooled, self.layer).float().cpu().numpy()
        return output

    def _pooled(self, maps: Maps, which: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]) -> torch.Tensor:
        """Pooled vectors (n, bins * C), where the head is."""
        import torch

        if self.device is None:
            return torch.from_numpy(self._compiled(maps, which, cells, np.float32))
        from sppcli.nets.pyramid import pool_regions

        return torch.cat(
            [
                pool_regions(torch.from_numpy(maps.read(index)).to(self.device), cells[part], self.levels)
                for index, part in _scales(which)
            ]
        )

    def _compiled(
        self,
        maps: Maps,
        which: npt.NDArray[np.int64],
        cells: npt.NDArray[np.int64],
        dtype: type[np.float16 | np.float32],
    ) -> Floats:
        """Pooled vectors (n, bins * C) by the compiled kernel; ``which`` is sorted."""
        # This import brings numba, which takes time and is needed for pooling alone.
        from sppcli.features.pooling import pool_windows

        pooled = np.empty((len(cells), self.pooled), dtype=dtype)
        for index, part in _scales(which):
            pool_windows(maps.read(index), cells[part], self.levels, pooled[part])
        return pooled


def _unique(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first row of ``keys`` (N, 4 or 5) with each value, by value, and which of these each row equals."""
    ends = [int(end) for end in keys.max(axis=0, initial=0) + 1]
    if (keys >= 0).all() and math.prod(ends) < 2**63:
        # Numbers are sorted many times faster than rows.
        values = np.ravel_multi_index(tuple(keys.T), tuple(ends))
        return np.unique(values, return_index=True, return_inverse=True)[1:]
    _, firsts, rows = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return firsts, rows.reshape(-1)


def _scales(which: npt.NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Yield each scale index in ``which``, which is sorted, and the slice where it stands."""
    for index in np.unique(which).tolist():
        yield index, slice(*np.searchsorted(which, [index, index + 1]).tolist())
