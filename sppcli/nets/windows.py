"""Features of windows: from the conv maps of an image to one vector a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sppcli.geometry.projection import CellGrid, choose_scale, response_windows, scale_boxes, settle_windows
from sppcli.structures import FloatArray

if TYPE_CHECKING:
    from sppcli.nets.backbones import FcHead


class Maps(Protocol):
    """Conv maps of one image at each scale; ``read`` gives (h, w, C) float32."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def map_sizes(self) -> Sequence[tuple[int, ...]]: ...

    def read(self, scale_index: int) -> FloatArray: ...


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
    maps: tuple[FloatArray, ...]

    @property
    def map_sizes(self) -> Sequence[tuple[int, ...]]:
        return [value.shape[:2] for value in self.maps]

    def read(self, scale_index: int) -> FloatArray:
        return self.maps[scale_index].astype(np.float32)


@dataclass(frozen=True)
class WindowReader:
    """How windows are read off the maps: at which of ``scales``, which cells, pooled how, through which layer.

    ``layer``: pool5 (the pooled vector itself) or a layer of ``head``. `Vectors` are features already: they are read as
    they are.
    """

    scales: tuple[int, ...]
    grid: CellGrid
    canonical: float
    channels: int
    levels: tuple[int, ...]
    scale_rule: str = "pixels"
    layer: str = "pool5"
    head: FcHead | None = None

    def features(
        self, maps: Maps | Vectors, boxes: npt.NDArray[np.floating], which: npt.NDArray[np.int64] | None = None
    ) -> FloatArray:
        """One row a box, float32: (N, bins * C) for pool5, else (N, units of the layer).

        ``which`` (N,): indices of the scales to read the boxes at, in place of their best.
        """
        if isinstance(maps, Vectors):
            return maps.of(boxes)
        # Brings numba, which nobody waits for who reads no windows.
        from sppcli.nets.pooling import pool_windows

        which, response = self._responses(maps, boxes, which)
        sizes = np.asarray(maps.map_sizes, dtype=np.int64).reshape(-1, 2)[which]
        cells = settle_windows(response, sizes[:, 0], sizes[:, 1])
        pooled = np.empty((len(boxes), sum(n * n for n in self.levels) * self.channels), dtype=np.float32)
        for index in np.unique(which):
            rows = np.flatnonzero(which == index)
            pool_windows(maps.read(int(index)), cells[rows], self.levels, pooled, rows)
        return self._through_head(pooled)

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
            which = choose_scale(boxes, height, width, self.scales, self.canonical, self.scale_rule)
        chosen = np.asarray(self.scales, dtype=np.float64)[which]
        return which, response_windows(scale_boxes(boxes, height, width, chosen), self.grid)

    def _through_head(self, pooled: FloatArray) -> FloatArray:
        if self.layer == "pool5":
            return pooled
        import torch

        assert self.head is not None
        with torch.inference_mode():
            output: FloatArray = self.head.run(torch.from_numpy(pooled), self.layer).numpy()
        return output
