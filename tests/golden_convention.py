"""The release's conventions turned into ours: the only place in the tests that does it.

The release counts from 1 and holds both ends of a box (MATLAB); ours are 0-based and half-open. So a box and a window
of cells convert alike: one is subtracted from the start and nothing from the end; and every id is one less.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.geometry.projection import CellGrid

GOLDEN = Path(__file__).parent / "golden"
_SHIFT = np.array([1, 1, 0, 0])


def golden(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``golden/NAME.npz``."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def half_open(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Boxes or windows of cells (N, 4), x0 y0 x1 y1, 1-based inclusive -> 0-based half-open; float64 or int64."""
    return rows - _SHIFT


def zero_based(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Indices, or pixel positions with both ends held, from 1 -> from 0."""
    return ids - 1


def cell_grid(params: npt.NDArray[np.float64]) -> CellGrid:
    """The release's ``offset0, offset, step`` as stride, centre of the first unit and slack."""
    offset0, offset, step = (float(value) for value in params)
    return CellGrid(step, offset0 - 1, step / 2 - offset)
