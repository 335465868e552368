"""Features of windows: from the conv maps of an image to one vector a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sppcli.geometry.projection import CellGrid, choose_scale, clamp_cells, response_windows, scale_boxes
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
    """Features of windows, those that see the same cells at the same scale once.

    ``values`` (M, D): one row a distinct window; ``rows`` (N,) int64: which of them is each window's.
    """

    values: Floats
    rows: npt.NDArray[np.int64]

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``values`` (M, ...) of the distinct windows -> (N, ...) of all; itself where no two are the same."""
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
        distinct = self.distinct(maps, boxes, which)
        return distinct.spread(distinct.values)

    def distinct(
        self,
        maps: Maps | Vectors,
        boxes: npt.NDArray[np.floating],
        which: npt.NDArray[np.int64] | None = None,
        dtype: type[np.float16 | np.float32] = np.float32,
    ) -> UniqueWindows:
        """As `features`, each distinct window computed once. ``dtype``: float16 for pooled vectors to be stored."""
        if isinstance(maps, Vectors):
            return UniqueWindows(maps.of(boxes).astype(dtype, copy=False), np.arange(len(boxes)))
        which, response = self._responses(maps, boxes, which)
        sizes = np.asarray(maps.map_sizes, dtype=np.int64).reshape(-1, 2)
        cells = clamp_cells(response, sizes[which, 0], sizes[which, 1])
        # One number a window, sorted by scale and then from the top: each map is gone through once, in order.
        height, width = sizes.max(axis=0) + 1
        numbers = np.ravel_multi_index(
            (which, cells[:, 1], cells[:, 0], cells[:, 3], cells[:, 2]), (len(sizes), height, width, height, width)
        )
        first, rows = np.unique(numbers, return_index=True, return_inverse=True)[1:]
        which, cells = which[first], cells[first]
        if self.layer != "pool5":
            return UniqueWindows(self._through_head(maps, which, cells).astype(dtype, copy=False), rows)
        return UniqueWindows(self._compiled(maps, which, cells, dtype), rows)

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

    def keys(self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """(N, 5): scale and response cells; windows with equal rows have equal features (golden ``dd_*``).

        Of `Vectors` (N, 4): the boxes' own bits.
        """
        if isinstance(maps, Vectors):
            return np.ascontiguousarray(boxes, dtype=np.float32).view(np.int32).astype(np.int64)
        which, response = self._responses(maps, boxes)
        return np.concatenate([which[:, None], response], axis=1)

    def _responses(
        self, maps: Maps, boxes: npt.NDArray[np.floating], which: npt.NDArray[np.int64] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        height, width = maps.size
        if which is None:
            which = choose_scale(boxes, height, width, self.scales, self.input_size, self.scale_rule)
        chosen = np.asarray(self.scales, dtype=np.float64)[which]
        return which, response_windows(scale_boxes(boxes, height, width, chosen), self.grid)

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


def _scales(which: npt.NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Each scale index in ``which``, which is sorted, and where it stands."""
    for index in np.unique(which).tolist():
        yield index, slice(*np.searchsorted(which, [index, index + 1]).tolist())
