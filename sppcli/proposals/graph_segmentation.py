"""Felzenszwalb and Huttenlocher's graph segmentation (IJCV 2004), label for label what OpenCV's gives.

Pixels are joined along the edges of the 4-neighbourhood, lightest first, while an edge is no heavier than either side's
threshold: its last joining weight plus k / size. Then regions below ``MIN_SIZE`` pixels join along the lightest edge.

Blur, edge weights and their sorting do not depend on k: `EdgeList` makes them once an image.
OpenCV sorts both directions of each edge with an unstable sort. In the first pass the order of equal edges cannot show
(after a join at weight w the new threshold is above w, so equal edges connect whatever they can in any order); in the
second a small region may have two equally light ways out. Only there is the order that ``std::sort`` gives computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from sppcli.proposals.introsort import equal_items, lazy_nodes
from sppcli.structures import ByteImage, FloatArray

Int32 = npt.NDArray[np.int32]
UInt32 = npt.NDArray[np.uint32]

# OpenCV keeps sigma as a float32 and blurs with that, widened: 0.800000011920929.
SIGMA = float(np.float32(0.8))
MIN_SIZE = 100
# So many different pairs of regions among edges of one weight are compared; more, and the true order is taken at once.
COMPARED = 32


@njit(cache=True, nogil=True)
def _weigh(image: FloatArray, both: bool) -> tuple[FloatArray, Int32]:
    """Weights and numbers of the edges: once each, or in both directions in the order in which OpenCV lists them.

    Edge 2p leads from pixel p to the right, edge 2p + 1 down.
    """
    height, width, channels = image.shape
    right = np.empty((height, width), np.float32)
    down = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width - 1):
            total = np.float32(0)
            for c in range(channels):
                difference = image[y, x, c] - image[y, x + 1, c]
                total += difference * difference
            right[y, x] = np.sqrt(total)
        if y + 1 < height:
            for x in range(width):
                total = np.float32(0)
                for c in range(channels):
                    difference = image[y, x, c] - image[y + 1, x, c]
                    total += difference * difference
                down[y, x] = np.sqrt(total)
    n = height * (width - 1) + (height - 1) * width
    weights = np.empty(2 * n if both else n, np.float32)
    edges = np.empty(len(weights), np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            p = y * width + x
            if both and y > 0:
                weights[count], edges[count] = down[y - 1, x], 2 * (p - width) + 1
                count += 1
            if both and x > 0:
                weights[count], edges[count] = right[y, x - 1], 2 * (p - 1)
                count += 1
            if y + 1 < height:
                weights[count], edges[count] = down[y, x], 2 * p + 1
                count += 1
            if x + 1 < width:
                weights[count], edges[count] = right[y, x], 2 * p
                count += 1
    return weights, edges


@njit(cache=True, nogil=True)
def _radix_sort(bits: UInt32, edges: Int32) -> None:
    """Sort in place by ``bits``: a float32 that is not negative sorts like its bits. Three passes of 11 bits."""
    n = len(bits)
    counts = np.zeros((3, 2048), np.int64)
    words = np.empty(n, np.uint64)
    for i in range(n):
        value = bits[i]
        counts[0, value & 2047] += 1
        counts[1, (value >> 11) & 2047] += 1
        counts[2, value >> 22] += 1
        words[i] = (np.uint64(value) << np.uint64(32)) | np.uint64(edges[i])
    other = np.empty(n, np.uint64)
    for turn in range(3):
        position = 0
        for digit in range(2048):
            here = counts[turn, digit]
            counts[turn, digit] = position
            position += here
        shift = np.uint64(32 + 11 * turn)
        for i in range(n):
            word = words[i]
            digit = np.int64((word >> shift) & np.uint64(2047))
            position = counts[turn, digit]
            counts[turn, digit] = position + 1
            other[position] = word
        words, other = other, words
    for i in range(n):
        bits[i] = np.uint32(words[i] >> np.uint64(32))
        edges[i] = np.int32(words[i] & np.uint64(0xFFFFFFFF))


@njit(cache=True, nogil=True, inline="always")
def _root(parents: Int32, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True, inline="always")
def _unite(parents: Int32, sizes: Int32, a: int, b: int) -> int:
    if sizes[a] < sizes[b]:
        a, b = b, a
    parents[b] = a
    sizes[a] += sizes[b]
    return a


@njit(cache=True, nogil=True)
def _join_alike(
    weights: FloatArray, edges: Int32, width: int, pixels: int, k: np.float32
) -> tuple[Int32, Int32, Int32, int]:
    """First pass: parents and sizes of the regions, and the positions of the edges that were refused."""
    parents = np.arange(pixels, dtype=np.int32)
    sizes = np.ones(pixels, np.int32)
    thresholds = np.full(pixels, k, np.float32)
    refused = np.empty(len(edges), np.int32)
    count = 0
    for i in range(len(edges)):
        edge = edges[i]
        start = edge >> 1
        a = _root(parents, start)
        b = _root(parents, start + 1 + (edge & 1) * (width - 1))
        if a != b:
            w = weights[i]
            if w <= thresholds[a] and w <= thresholds[b]:
                a = _unite(parents, sizes, a, b)
                thresholds[a] = w + k / np.float32(sizes[a])
            else:
                refused[count] = i
                count += 1
    return parents, sizes, refused, count


@njit(cache=True, nogil=True)
def _join_small(
    edges: Int32, width: int, parents: Int32, sizes: Int32, order: Int32, first: int, last: int, min_size: int
) -> None:
    """Join along the edges at positions ``order[first:last]``, in that order, where a side is small."""
    for i in range(first, last):
        edge = edges[order[i]]
        start = edge >> 1
        a = _root(parents, start)
        b = _root(parents, start + 1 + (edge & 1) * (width - 1))
        if a != b and (sizes[a] < min_size or sizes[b] < min_size):
            _unite(parents, sizes, a, b)


@njit(cache=True, nogil=True)
def _order_matters(
    edges: Int32, width: int, parents: Int32, sizes: Int32, refused: Int32, first: int, last: int, min_size: int
) -> bool:
    """Whether edges of one weight, at positions ``refused[first:last]``, could join other regions in another order."""
    pairs = np.empty((COMPARED, 2), np.int32)
    count = 0
    for i in range(first, last):
        edge = edges[refused[i]]
        start = edge >> 1
        a = _root(parents, start)
        b = _root(parents, start + 1 + (edge & 1) * (width - 1))
        if a == b or (sizes[a] >= min_size and sizes[b] >= min_size):
            continue
        a, b = min(a, b), max(a, b)
        known = False
        for j in range(count):
            if pairs[j, 0] == a and pairs[j, 1] == b:
                known = True
        if known:
            continue
        if count == COMPARED:
            return True
        pairs[count] = a, b
        count += 1
    for i in range(count):
        for j in range(i):
            for s in range(2):
                for t in range(2):
                    if pairs[i, s] != pairs[j, t]:
                        continue
                    # A is next to B and to C. Both joins happen in either order if each still finds a small side.
                    shared, b, c = sizes[pairs[i, s]], sizes[pairs[i, 1 - s]], sizes[pairs[j, 1 - t]]
                    both = (c < min_size or shared + b < min_size) and (b < min_size or shared + c < min_size)
                    if count > 2 or not both:
                        return True
    return False


@njit(cache=True, nogil=True)
def _join_all_small(
    weights: FloatArray,
    edges: Int32,
    width: int,
    parents: Int32,
    sizes: Int32,
    refused: Int32,
    position: int,
    count: int,
    min_size: int,
) -> tuple[int, int]:
    """Second pass from ``position`` on, over the refused edges; stops at a group of equal weights whose order matters.

    Returns where the group starts and ends; ``count`` twice at the end.
    """
    while position < count:
        end = position + 1
        while end < count and weights[refused[end]] == weights[refused[position]]:
            end += 1
        if end > position + 1 and _order_matters(edges, width, parents, sizes, refused, position, end, min_size):
            return position, end
        _join_small(edges, width, parents, sizes, refused, position, end, min_size)
        position = end
    return count, count


@njit(cache=True, nogil=True)
def _join_listed(edges: Int32, width: int, parents: Int32, sizes: Int32, min_size: int) -> None:
    """Join along ``edges``, in their order, where a side is small."""
    _join_small(edges, width, parents, sizes, np.arange(len(edges), dtype=np.int32), 0, len(edges), min_size)


@njit(cache=True, nogil=True)
def _label(parents: Int32) -> tuple[Int32, int]:
    """Labels 0, 1, 2 … by first appearance in raster order, and their number."""
    names = np.full(len(parents), -1, np.int32)
    labels = np.empty(len(parents), np.int32)
    count = 0
    for p in range(len(parents)):
        root = _root(parents, p)
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[p] = names[root]
    return labels, count


@dataclass(frozen=True)
class Segmentation:
    """Labels (H, W) int32 from 0 to ``number`` - 1, in raster order of first appearance."""

    labels: Int32
    number: int


class EdgeList:
    """The edges of one image, blurred, weighed and sorted: what segmentations of any k start from.

    Args:
        image: (H, W) or (H, W, C) uint8.
        sigma: of the Gaussian blur, in pixels.
    """

    def __init__(self, image: ByteImage, sigma: float = SIGMA) -> None:
        blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
        self.shape = image.shape[:2]
        self._blurred = np.ascontiguousarray(blurred, dtype=np.float32).reshape(*self.shape, -1)
        self._weights, self._edges = _weigh(self._blurred, False)
        _radix_sort(self._weights.view(np.uint32), self._edges)
        # Both directions in OpenCV's order, as far as they are sorted: made when first asked for.
        self._listed: tuple[FloatArray, Int32] | None = None
        self._nodes: tuple[npt.NDArray[np.int32], FloatArray] = lazy_nodes(0)
        self._used = 1

    def segment(self, k: float, min_size: int = MIN_SIZE) -> Segmentation:
        """The regions of the image.

        Args:
            k: greater for larger regions.
            min_size: regions of fewer pixels join a neighbour.
        """
        height, width = self.shape
        parents, sizes, refused, count = _join_alike(
            self._weights, self._edges, width, height * width, np.float32(k)
        )
        position = 0
        while position < count:
            position, end = _join_all_small(
                self._weights, self._edges, width, parents, sizes, refused, position, count, min_size
            )
            if end > position:
                tied = self._in_order(self._weights[refused[position]])
                _join_listed(tied, width, parents, sizes, min_size)
                position = end
        labels, number = _label(parents)
        return Segmentation(labels.reshape(height, width), number)

    def _in_order(self, weight: np.float32) -> Int32:
        """Edges of just this weight, in the order in which OpenCV meets them."""
        if self._listed is None:
            self._listed = _weigh(self._blurred, True)
            self._nodes = lazy_nodes(len(self._listed[0]))
        found, self._used = equal_items(*self._listed, *self._nodes, self._used, weight)
        return found
