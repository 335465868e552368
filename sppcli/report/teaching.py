"""Pictures that show the method at work on one image: a pyramid's bins, receptive fields, channels of a conv map.

They follow the paper's Figures 1, 3 and 5. Boxes are in pixels of the image, cells in those of the conv map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.geometry.projection import CellGrid
from sppcli.report.drawing import Colour, Mark, Tile, draw
from sppcli.structures import ByteImage

Box = tuple[float, float, float, float]
Cells = tuple[int, int, int, int]

SIDE = 480
_REGION: Colour = (255, 205, 0)
_BIN: Colour = (0, 205, 200)
_POOLED: Colour = (230, 75, 30)
_GRID: Colour = (255, 255, 255)
# From nothing over violet and orange to yellow: as bright as the value is high, for any colour vision.
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


@dataclass(frozen=True)
class Place:
    """Where cells of a conv map lie on the image. ``factor``: pixels of the scaled image per pixel of the image."""

    grid: CellGrid
    factor: float
    height: int
    width: int

    def box(self, cells: Cells) -> Box:
        """The pixels nearer to the centres of ``cells`` (x0 y0 x1 y1, half-open) than to others', inside the image."""
        ends = [(self.grid.centre + self.grid.stride * (end - 0.5)) / self.factor for end in cells]
        limits = (self.width, self.height, self.width, self.height)
        x0, y0, x1, y1 = (min(max(0.0, end), limit) for end, limit in zip(ends, limits, strict=True))
        return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def bins_of(cells: Cells, level: int) -> list[Cells]:
    """The bins of a window of ``cells`` at a level of n x n, row by row: Appendix A's, which may share cells."""
    x0, y0, x1, y1 = cells
    width, height = x1 - x0, y1 - y0

    def ends(start: int, length: int, i: int) -> tuple[int, int]:
        return start + i * length // level, start - (-(i + 1) * length // level)

    found = []
    for row in range(level):
        for column in range(level):
            (left, right), (top, bottom) = ends(x0, width, column), ends(y0, height, row)
            found.append((left, top, right, bottom))
    return found


def pyramid_tiles(
    image: ByteImage, conv_map: npt.NDArray[np.floating], region: Box, cells: Cells, levels: Sequence[int], place: Place
) -> list[Tile]:
    """The region and the cells that it takes, then each level's bins over its strongest channel.

    Args:
        conv_map: (h, w, C) of the image.
        region: a box, and ``cells`` what it covers of the map.
        levels: bins on a side of each.
    """
    x0, y0, x1, y1 = cells
    every = [Mark(place.box((x, y, x + 1, y + 1)), _GRID, "thin") for y in range(y0, y1) for x in range(x0, x1)]
    picture = draw(image, [*every, Mark(region, _REGION, "solid", "region")], SIDE)
    tiles = [Tile(f"a region takes {x1 - x0} x {y1 - y0} of {conv_map.shape[1]} x {conv_map.shape[0]} cells", picture)]
    window = np.asarray(conv_map[y0:y1, x0:x1], dtype=np.float32)
    channel = int(window.max(axis=(0, 1)).argmax())
    warm = heated(image, np.asarray(conv_map[:, :, channel], dtype=np.float32), place)
    for level in levels:
        marks = []
        for one in bins_of(cells, level):
            inside = np.asarray(conv_map[one[1] : one[3], one[0] : one[2], channel], dtype=np.float32)
            row, column = np.unravel_index(int(inside.argmax()), inside.shape)
            x, y = one[0] + int(column), one[1] + int(row)
            marks += [Mark(place.box(one), _BIN, "solid"), Mark(place.box((x, y, x + 1, y + 1)), _POOLED, "solid")]
        bins = f"{level} x {level} bins" if level > 1 else "1 bin"
        tiles.append(Tile(f"level {level}: {bins}, the maximum of each (channel {channel})", draw(warm, marks, SIDE)))
    return tiles


def field_tiles(image: ByteImage, found: Sequence[tuple[int, float, Cells, Box]], place: Place) -> list[Tile]:
    """For each (channel, value, cell, receptive field) the strongest cell of the channel, and all that it sees."""
    tiles = []
    for channel, value, cell, field in found:
        marks = [Mark(field, _REGION, "solid", "receptive field"), Mark(place.box(cell), _POOLED, "solid", "cell")]
        width, height = round(field[2] - field[0]), round(field[3] - field[1])
        caption = f"channel {channel}, {value:.1f}: a cell sees {width} x {height} pixels"
        tiles.append(Tile(caption, draw(image, marks, SIDE)))
    return tiles


def channel_tiles(image: ByteImage, conv_map: npt.NDArray[np.floating], count: int, place: Place) -> list[Tile]:
    """The image, and the ``count`` channels of the map (h, w, C) with the highest values as heat over it."""
    tiles = [Tile("the image", draw(image, [], SIDE))]
    for channel in strongest(conv_map, count):
        values = np.asarray(conv_map[:, :, channel], dtype=np.float32)
        warm = draw(heated(image, values, place), [], SIDE)
        tiles.append(Tile(f"channel {channel}, at most {float(values.max()):.1f}", warm))
    return tiles


def strongest(conv_map: npt.NDArray[np.floating], count: int) -> list[int]:
    """The channels with the highest values, the highest first; of those that are as high (ReLU6 ends at 6), those that
    are so at the most cells away from the border, where padding answers too."""
    values = np.asarray(conv_map, dtype=np.float32)
    highest = values.max(axis=(0, 1))
    inner = _inside(values)
    often = (inner == highest).sum(axis=(0, 1))
    return [int(channel) for channel in np.lexsort((np.arange(len(highest)), -often, -highest))[:count]]


def strongest_cell(values: npt.NDArray[np.floating]) -> tuple[int, int]:
    """Row and column of the highest of ``values`` (h, w): of several the one nearest to the middle."""
    rows, columns = np.nonzero(values == values.max())
    away = np.hypot(rows - (values.shape[0] - 1) / 2, columns - (values.shape[1] - 1) / 2)
    nearest = int(away.argmin())
    return int(rows[nearest]), int(columns[nearest])


def _inside(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``values`` (h, w, C) without an eighth at each border."""
    rows, columns = values.shape[0] // 8, values.shape[1] // 8
    return values[rows : values.shape[0] - rows, columns : values.shape[1] - columns]


def heated(image: ByteImage, values: npt.NDArray[np.float32], place: Place) -> ByteImage:
    """``image`` with a channel (h, w) over it as heat, each cell where it lies."""
    height, width = image.shape[:2]
    share = values / max(float(values.max()), 1e-6)
    # Pixel p of the image lies at cell (p * factor - centre) / stride.
    rows, columns = (
        (np.arange(size, dtype=np.float64) * place.factor - place.grid.centre) / place.grid.stride
        for size in (height, width)
    )
    smooth = _bilinear(share, rows, columns)[..., None]
    stops = np.clip(smooth[..., 0], 0, 1) * (len(_HEAT) - 1)
    low = np.minimum(stops.astype(int), len(_HEAT) - 2)
    colour = _HEAT[low] + (stops - low)[..., None] * (_HEAT[low + 1] - _HEAT[low])
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    weight = 0.25 + 0.6 * np.clip(smooth, 0, 1)
    return np.asarray(np.round(grey * (1 - weight) + colour * weight), dtype=np.uint8)


def _bilinear(
    values: npt.NDArray[np.float32], rows: npt.NDArray[np.floating], columns: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """``values`` (h, w) at fractional rows (H,) and columns (W,): (H, W); beyond the outer cells as these."""
    y, x = np.clip(rows, 0, values.shape[0] - 1), np.clip(columns, 0, values.shape[1] - 1)
    top, left = y.astype(int), x.astype(int)
    bottom, right = np.minimum(top + 1, values.shape[0] - 1), np.minimum(left + 1, values.shape[1] - 1)
    down, across = (y - top)[:, None], (x - left)[None]
    upper = values[top][:, left] * (1 - across) + values[top][:, right] * across
    lower = values[bottom][:, left] * (1 - across) + values[bottom][:, right] * across
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float64)
