"""What Selective Search compares: size, box, neighbours, colour and texture of the regions of a segmentation.

Colour and texture are histograms of `pixel_codes`. The numbers are those of OpenCV's strategy objects bit for bit:
every sum is taken in their order and rounded to float32 at each step. Several segmentations of an image are laid over
each other, pixels are counted once in the pieces that they cut each other into, and a region is the sum of its pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.proposals.selective_search.graph_segmentation import Segmentation
from sppcli.proposals.selective_search.pixel_codes import COLOUR_BINS, DERIVATIVES, PARTS, TEXTURE_BINS, PixelCodes
from sppcli.runtime.compiled import njit
from sppcli.structures import ByteImage, FloatArray

Int32 = npt.NDArray[np.int32]

# Places in the table of `_overlay`.
SLOTS = 1 << 14


@dataclass(frozen=True)
class Regions:
    """The regions of one segmentation.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | sizes | (N,) | int32 | pixels |
    | boxes | (N, 4) | int32 | x0 y0 x1 y1, half-open |
    | starts | (N + 1,) | int32 | region i has ``others[starts[i]:starts[i + 1]]`` |
    | others | (P,) | int32 | neighbours with a greater number, ascending |
    | colour | (N, C * 25) | float32 | sums to 1 |
    | texture | (N, C * 80) | float32 | sums to 1; [channel][derivative][part][bin] |
    """

    sizes: Int32
    boxes: Int32
    starts: Int32
    others: Int32
    colour: FloatArray
    texture: FloatArray


def measure(segmentations: Sequence[Segmentation], codes: PixelCodes) -> list[Regions]:
    """Describe the regions of one or several segmentations of the same image."""
    pieces, members = _overlay(np.stack([one.labels for one in segmentations]))
    number = len(members)
    sizes, boxes = _extents(pieces, number)
    lows, highs = _meetings(pieces)
    starts, others = _neighbours(lows, highs, number)
    lows, highs = np.repeat(np.arange(number, dtype=np.int32), np.diff(starts)), others
    channels = codes.colour.shape[2]
    colour, texture = _count(pieces, codes.colour, *codes.texture, number)
    _add_zeros(texture, codes.zeros)
    found = []
    for k, one in enumerate(segmentations):
        region = np.ascontiguousarray(members[:, k])
        own_sizes, own_boxes = _fold_extents(region, sizes, boxes, one.number)
        own_starts, own_others = _neighbours(region[lows], region[highs], one.number)
        own_colour = _fold(region, colour, own_sizes * channels)
        own_texture = _fold(region, texture, own_sizes * (channels * 2 * DERIVATIVES))
        found.append(Regions(own_sizes, own_boxes, own_starts, own_others, own_colour, own_texture))
    return found


@njit()
def _overlay(labels: npt.NDArray[np.int32]) -> tuple[Int32, Int32]:
    """Cut an image into pieces that lie in one region of each of K segmentations (K, H, W).

    Pieces (H, W), and for each the K regions that it lies in. Two pieces may lie in the same regions: a table of fixed
    size remembers the pieces, and what it forgets is started anew.
    """
    depth, height, width = labels.shape
    pieces = np.empty((height, width), np.int32)
    members = np.empty((1024, depth), np.int32)
    slots = np.zeros(SLOTS, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            if x > 0:
                same = True
                for k in range(depth):
                    same &= labels[k, y, x] == labels[k, y, x - 1]
                if same:
                    pieces[y, x] = pieces[y, x - 1]
                    continue
            mixed = np.uint32(0)
            for k in range(depth):
                mixed = np.uint32((mixed ^ np.uint32(labels[k, y, x])) * np.uint32(2654435761))
            slot = mixed >> np.uint32(18)
            piece = slots[slot]
            known = count > 0
            for k in range(depth):
                known = known and members[piece, k] == labels[k, y, x]
            if not known:
                if count == len(members):
                    larger = np.empty((2 * count, depth), np.int32)
                    # A loop: slices take the compiler long, here and below.
                    for i in range(count):
                        for k in range(depth):
                            larger[i, k] = members[i, k]
                    members = larger
                piece = count
                count += 1
                slots[slot] = piece
                for k in range(depth):
                    members[piece, k] = labels[k, y, x]
            pieces[y, x] = piece
    return pieces, members[:count]


@njit()
def _extents(labels: Int32, number: int) -> tuple[Int32, Int32]:
    height, width = labels.shape
    sizes = np.zeros(number, np.int32)
    boxes = np.empty((number, 4), np.int32)
    for i in range(number):
        boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = width, height, 0, 0
    for y in range(height):
        start = 0
        while start < width:
            label = labels[y, start]
            end = start + 1
            while end < width and labels[y, end] == label:
                end += 1
            sizes[label] += end - start
            box = boxes[label]
            box[0], box[1] = min(box[0], start), min(box[1], y)
            box[2], box[3] = max(box[2], end), y + 1
            start = end
    return sizes, boxes


@njit()
def _fold_extents(region: Int32, sizes: Int32, boxes: Int32, number: int) -> tuple[Int32, Int32]:
    """Sizes and boxes of regions from those of their pieces; piece i lies in ``region[i]``."""
    whole = np.zeros(number, np.int32)
    around = np.empty((number, 4), np.int32)
    for i in range(len(region)):
        box, one = around[region[i]], boxes[i]
        if whole[region[i]] == 0:
            box[0], box[1], box[2], box[3] = one[0], one[1], one[2], one[3]
        box[0], box[1] = min(box[0], one[0]), min(box[1], one[1])
        box[2], box[3] = max(box[2], one[2]), max(box[3], one[3])
        whole[region[i]] += sizes[i]
    return whole, around


@njit()
def _meetings(labels: Int32) -> tuple[Int32, Int32]:
    """Labels that meet, as OpenCV sees it: left, above and above-left, of pixels outside row 0 and column 0."""
    height, width = labels.shape
    lows = np.empty(1024, np.int32)
    highs = np.empty(1024, np.int32)
    count = 0
    for y in range(1, height):
        for x in range(1, width):
            here = labels[y, x]
            left, above, corner = labels[y, x - 1], labels[y - 1, x], labels[y - 1, x - 1]
            if left == here and above == here and corner == here:
                continue
            if count + 3 > len(lows):
                more_lows, more_highs = np.empty(2 * len(lows), np.int32), np.empty(2 * len(lows), np.int32)
                for i in range(count):
                    more_lows[i], more_highs[i] = lows[i], highs[i]
                lows, highs = more_lows, more_highs
            for other in (left, above, corner):
                if other != here:
                    lows[count], highs[count] = here, other
                    count += 1
    return lows[:count], highs[:count]


@njit()
def _neighbours(ones: Int32, twos: Int32, number: int) -> tuple[Int32, Int32]:
    """`Regions.starts` and `Regions.others` from pairs that meet: in any order, repeated, or a region with itself."""
    ends = np.zeros(number + 1, np.int32)
    for i in range(len(ones)):
        if ones[i] != twos[i]:
            ends[min(ones[i], twos[i]) + 1] += 1
    for i in range(number):
        ends[i + 1] += ends[i]
    begins = ends.copy()
    listed = np.empty(ends[number], np.int32)
    for i in range(len(ones)):
        if ones[i] != twos[i]:
            low = min(ones[i], twos[i])
            listed[ends[low]] = max(ones[i], twos[i])
            ends[low] += 1
    seen = np.full(number, -1, np.int32)
    starts = np.zeros(number + 1, np.int32)
    count = 0
    for i in range(number):
        for j in range(begins[i], ends[i]):
            other = listed[j]
            if seen[other] != i:
                seen[other] = i
                # Insert it among the few that are known; the place written is never beyond j.
                place = count
                while place > starts[i] and listed[place - 1] > other:
                    listed[place] = listed[place - 1]
                    place -= 1
                listed[place] = other
                count += 1
        starts[i + 1] = count
    return starts, listed[:count].copy()


@njit()
def _count(
    labels: Int32, colour: ByteImage, dx: ByteImage, dy: ByteImage, rx: ByteImage, ry: ByteImage, number: int
) -> tuple[Int32, Int32]:
    height, width, channels = colour.shape
    colours = np.zeros((number, COLOUR_BINS * channels), np.int32)
    textures = np.zeros((number, PARTS * DERIVATIVES * channels), np.int32)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            for c in range(channels):
                colours[label, colour[y, x, c]] += 1
                textures[label, dx[y, x, c]] += 1
                textures[label, dy[y, x, c]] += 1
                textures[label, rx[y, x, c]] += 1
                textures[label, ry[y, x, c]] += 1
    return colours, textures


@njit()
def _add_zeros(counts: Int32, zeros: ByteImage) -> None:
    """A pixel was counted in one part of each derivative; in the other it has the bin of 0."""
    for i in range(len(counts)):
        for column in range(len(zeros)):
            positive, negative = 0, 0
            for j in range(PARTS * column, PARTS * column + TEXTURE_BINS):
                positive += counts[i, j]
                negative += counts[i, j + TEXTURE_BINS]
            counts[i, zeros[column, 0]] += negative
            counts[i, zeros[column, 1]] += positive


@njit()
def _fold(region: Int32, counts: Int32, totals: Int32) -> FloatArray:
    """Histograms of regions, divided by ``totals``, from the counts of their pieces."""
    bins = counts.shape[1]
    whole = np.zeros((len(totals), bins), np.int32)
    for i in range(len(region)):
        row, one = whole[region[i]], counts[i]
        for j in range(bins):
            row[j] += one[j]
    result = np.empty((len(totals), bins), np.float32)
    for i in range(len(totals)):
        total = np.float32(totals[i])
        for j in range(bins):
            result[i, j] = np.float32(whole[i, j]) / total
    return result


@njit()
def overlaps(histograms: FloatArray, one: int, others: Int32, result: FloatArray) -> None:
    """Histogram intersection of region ``one`` with each of ``others`` (K,), written to ``result`` (K,).

    Each is a running float32 sum in the order of the bins; eight are taken side by side, since a sum has to wait for
    itself.
    """
    bins = histograms.shape[1]
    h = histograms[one]
    whole = len(others) - len(others) % 8
    for i in range(0, whole, 8):
        a, b, c, d = (
            histograms[others[i]],
            histograms[others[i + 1]],
            histograms[others[i + 2]],
            histograms[others[i + 3]],
        )
        e, f, g, o = (
            histograms[others[i + 4]],
            histograms[others[i + 5]],
            histograms[others[i + 6]],
            histograms[others[i + 7]],
        )
        sa = sb = sc = sd = se = sf = sg = so = np.float32(0)
        for k in range(bins):
            v = h[k]
            sa += min(v, a[k])
            sb += min(v, b[k])
            sc += min(v, c[k])
            sd += min(v, d[k])
            se += min(v, e[k])
            sf += min(v, f[k])
            sg += min(v, g[k])
            so += min(v, o[k])
        result[i], result[i + 1], result[i + 2], result[i + 3] = sa, sb, sc, sd
        result[i + 4], result[i + 5], result[i + 6], result[i + 7] = se, sf, sg, so
    for i in range(whole, len(others)):
        other = histograms[others[i]]
        total = np.float32(0)
        for k in range(bins):
            total += min(h[k], other[k])
        result[i] = total


@njit(inline="always")
def size_similarity(size_a: int, size_b: int, pixels: int) -> np.float32:
    """Close to 1 for two small regions."""
    value = np.float32(1) - np.float32(size_a + size_b) / np.float32(pixels)
    return max(np.float32(0), min(np.float32(1), value))


@njit(inline="always")
def fill_similarity(size_a: int, box_a: Int32, size_b: int, box_b: Int32, pixels: int) -> np.float32:
    """Close to 1 for two regions that fill their common box."""
    width = max(box_a[2], box_b[2]) - min(box_a[0], box_b[0])
    height = max(box_a[3], box_b[3]) - min(box_a[1], box_b[1])
    value = np.float32(1) - np.float32(width * height - size_a - size_b) / np.float32(pixels)
    return max(np.float32(0), min(np.float32(1), value))
