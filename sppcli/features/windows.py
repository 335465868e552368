"""Features of windows: from the conv maps of an image to one vector a window.

Two windows of an image are the same window when they are read off the same cells at the same scale, that is when their
cells as `geometry.projection.project` gives them, inside the map and never empty, are equal: then, and only then, their
features are equal whatever the maps hold. Reading, mining and measuring all count windows so. (The release compares
`response_windows`, before ends that cross are mended and cells are clamped to the map, so that it holds a few windows
with equal features twice.)
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

# Windows that go through fc layers together: enough for their weights (4096 x 12,800) to be read seldom.
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
    """Features of one image's windows that come without maps, as R-CNN's do: ``of`` (N, 4) boxes (N, D) float32."""

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
    """Features of windows, of those that are the same once.

    ``values`` (M, D): one row for each different window; ``rows`` (N,) int64: which of them is each window's;
    ``firsts`` (M,) int64: the first window that has each row.
    """

    values: Floats
    rows: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``values`` (M, ...) of the different windows -> (N, ...) of all; itself where it is the same."""
        if len(self.rows) == len(values) and (self.rows == np.arange(len(values))).all():
            return values
        return np.asarray(values[self.rows])

    def of(self, windows: npt.NDArray[np.int64]) -> Floats:
        """Features (n, D) of the windows with these indices."""
        return self.values[self.rows[windows]]


@dataclass(frozen=True)
class WindowReader:
    """How windows are read off the maps: at which of ``scales``, which cells, pooled how, through which layer.

    ``layer``: pool5 (the pooled vector itself) or a layer of ``head``. `Vectors` are features already: they are read as
    they are. ``device``: where windows are pooled for the ``head``, which is there; None for the compiled pooling, that
    of pool5.
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
        """One row a box, float32: (N, bins * C) for pool5, else (N, units of the layer).

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
        """As `features`, each different window computed once. ``dtype``: float16 for pooled vectors to be stored."""
        keys = self.keys(maps, boxes, which)
        firsts, rows = _unique(keys)
        if isinstance(maps, Vectors):
            order = np.argsort(firsts)
            firsts, rows = firsts[order], np.argsort(order)[rows]
            return UniqueWindows(maps.of(boxes[firsts]).astype(dtype, copy=False), rows, firsts)
        # They are sorted by scale and then from the top: each map is gone through once, in order.
        which, cells = keys[firsts, 0], keys[firsts][:, [2, 1, 4, 3]]
        if self.layer != "pool5":
            return UniqueWindows(self._through_head(maps, which, cells).astype(dtype, copy=False), rows, firsts)
        return UniqueWindows(self._compiled(maps, which, cells, dtype), rows, firsts)

    def dimensions(self, maps: Maps | Vectors) -> int:
        """Numbers of a window's features."""
        return int(self.features(maps, np.zeros((0, 4), np.float32)).shape[1])

    @property
    def head_bytes(self) -> int:
        """Of the fc layers; 0 without."""
        if self.head is None:
            return 0
        whole = sum(weight.nbytes + bias.nbytes for weight, bias in self.head.layers.values())
        return whole + sum(weight.nbytes for weight in self.head.narrow.values())

    @property
    def pooled(self) -> int:
        """Numbers that pooling gives a window, before any fc layer."""
        return sum(n * n for n in self.levels) * self.channels

    def keys(
        self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating], which: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.int64]:
        """(N, 5): index of the scale and cells y0 x0 y1 x1. Windows with equal rows are the same window.

        Of `Vectors` (N, 4): the boxes' own bits.
        """
        if isinstance(maps, Vectors):
            return np.ascontiguousarray(boxes, dtype=np.float32).view(np.int32).astype(np.int64)
        height, width = maps.size
        if which is None:
            which = choose_scale(boxes, height, width, self.scales, self.input_size, self.scale_rule)
        cells = cells_at(boxes, height, width, self.scales, maps.map_sizes, self.grid, which)
        return np.concatenate([which[:, None], cells[:, [1, 0, 3, 2]]], axis=1)

    def firsts(self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """Indices, ascending, of the windows that are the same as none before them."""
        return np.sort(_unique(self.keys(maps, boxes))[0])

    def _through_head(self, maps: Maps, which: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]) -> FloatArray:
        """Output (M, units) of the layer. A block of windows after the other, so that what is pooled stays small."""
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
        # Brings numba, which nobody waits for who pools no windows.
        from sppcli.features.pooling import pool_windows

        pooled = np.empty((len(cells), self.pooled), dtype=dtype)
        for index, part in _scales(which):
            pool_windows(maps.read(index), cells[part], self.levels, pooled[part])
        return pooled


def _unique(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first row of ``keys`` (N, 4 or 5) with each value, in the order of values, and which of these each row is."""
    ends = [int(end) for end in keys.max(axis=0, initial=0) + 1]
    if (keys >= 0).all() and math.prod(ends) < 2**63:
        # Numbers are sorted many times faster than rows.
        values = np.ravel_multi_index(tuple(keys.T), tuple(ends))
        return np.unique(values, return_index=True, return_inverse=True)[1:]
    _, firsts, rows = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return firsts, rows.reshape(-1)


def _scales(which: npt.NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Each scale index in ``which``, which is sorted, and where it stands."""
    for index in np.unique(which).tolist():
        yield index, slice(*np.searchsorted(which, [index, index + 1]).tolist())
