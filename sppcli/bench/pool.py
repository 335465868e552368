"""Seconds of pyramid pooling: ours against torchvision's roi_pool, and against writing the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.ops import roi_pool

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.bench.pictures import draw_windows
from sppcli.features.pooling import pool_windows
from sppcli.geometry.projection import CellGrid, project
from sppcli.nets.pyramid import bins_in
from sppcli.paper import DEFAULT

STRIDE = 16


def rows(
    machine: Machine,
    windows: int = 2000,
    channels: int = 256,
    size: tuple[int, int] = (375, 500),
    scales: tuple[int, ...] = (688,),
    repeat: int = 3,
) -> list[Row]:
    """Pool regions of an image of ``size`` (height, width) from float16 maps at ``scales``, into float32 and float16.

    The floor: each number of the result written once, each of the maps read once. The peer: torchvision's roi_pool, one
    call a level and map, on float32 maps; that both results are equal is checked.

    Raises:
        AssertionError: they are not.
    """
    levels = DEFAULT.pyramid
    maps, cells, parts = _drawn(windows, channels, size, scales)
    width = bins_in(levels) * channels

    def ours(kind: type[np.float16 | np.float32]) -> np.ndarray[Any, Any]:
        out = np.empty((windows, width), dtype=kind)
        for conv_map, part in zip(maps, parts, strict=True):
            pool_windows(conv_map, cells[part], levels, out[part])
        return out

    tensors = [torch.from_numpy(conv_map.astype(np.float32)).permute(2, 0, 1)[None].contiguous() for conv_map in maps]
    # roi_pool's regions hold both ends, and begin with the number of their map.
    ends = np.concatenate([np.zeros((windows, 1)), cells - [0, 0, 1, 1]], axis=1).astype(np.float32)
    regions = [torch.from_numpy(ends[part]) for part in parts]

    def theirs() -> list[list[torch.Tensor]]:
        return [[roi_pool(tensor, region, n) for n in levels] for tensor, region in zip(tensors, regions, strict=True)]

    def written(kind: type[np.float16 | np.float32]) -> None:
        np.empty((windows, width), dtype=kind).fill(1)

    pooled = [torch.cat([part.permute(0, 2, 3, 1).flatten(1) for part in level], 1) for level in theirs()]
    expected = torch.cat(pooled).numpy()
    assert np.array_equal(ours(np.float32), expected), "pool_windows and roi_pool differ"
    assert np.array_equal(ours(np.float16), expected.astype(np.float16)), "pool_windows and roi_pool differ"
    del pooled, expected
    functions: dict[str, Callable[[], Any]] = {
        "roi_pool": theirs,
        "float32": lambda: ours(np.float32),
        "write float32": lambda: written(np.float32),
        "float16": lambda: ours(np.float16),
        "write float16": lambda: written(np.float16),
    }
    seconds = alternated(functions, repeat, warm=False)
    read = sum(conv_map.nbytes for conv_map in maps)
    return [
        Row(
            "pool",
            f"{windows} regions x {bins_in(levels)} bins x {channels} channels, {name}",
            seconds[name],
            machine.floor(moved=windows * width * np.dtype(name).itemsize + read),
            "bytes",
            peer,
            seconds[peer],
        )
        for name in ("float32", "float16")
        for peer in ("roi_pool", f"write {name}")
    ]


def _drawn(
    windows: int, channels: int, size: tuple[int, int], scales: tuple[int, ...]
) -> tuple[list[npt.NDArray[np.float16]], npt.NDArray[np.int64], list[slice]]:
    """Conv maps (H, W, C) as a ReLU leaves them, cells (N, 4) of regions on them, and which of these are of each."""
    random = np.random.default_rng(0)
    boxes = draw_windows(random, np.zeros((*size, 3), np.uint8), windows)
    sizes = [(size[0] * s // min(size) // STRIDE, size[1] * s // min(size) // STRIDE) for s in scales]
    which, cells = project(boxes, *size, scales, sizes, CellGrid(STRIDE, 0, DEFAULT.slack), rule=DEFAULT.scale_rule)
    maps = [np.maximum(random.standard_normal((*shape, channels)), 0).astype(np.float16) for shape in sizes]
    order = np.lexsort((cells[:, 1], which))
    which, cells = which[order], cells[order]
    return maps, cells, [slice(*np.searchsorted(which, [i, i + 1]).tolist()) for i in range(len(maps))]
