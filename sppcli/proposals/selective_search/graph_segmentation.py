"""Felzenszwalb and Huttenlocher's graph segmentation (IJCV 2004), with exactly the labels of OpenCV's.

Pixels are joined along the edges of the 4-neighbourhood, lightest first, while an edge is no heavier than either side's
threshold: its last joining weight plus k / size. Then regions below ``MIN_SIZE`` pixels join along the lightest edge.

Blur, edge weights and their order do not depend on k, and nor do the joins before the smallest k refuses an edge:
`segment` does all that once per image.

OpenCV sorts both directions of each edge with an unstable sort. In the first pass the order of equal edges cannot show:
after a join at weight w the new threshold is above w, so equal edges connect whatever they can in any order. In the
second a small region may have two equally light ways out. Only there is the order that ``std::sort`` gives computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from sppcli.proposals.selective_search.introsort import equal_items, lazy_nodes
from sppcli.runtime.compiled import njit
from sppcli.structures import ByteImage, FloatArray

Int32 = npt.NDArray[np.int32]
UInt32 = npt.NDArray[np.uint32]

# OpenCV keeps sigma as a float32 and blurs with that, widened: 0.800000011920929.
SIGMA = float(np.float32(0.8))
MIN_SIZE = 100
# So many different pairs of regions among edges of one weight are compared; more, and the true order is taken at once.
COMPARED = 32


@njit()
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


@njit()
def _sort(bits: UInt32, edges: Int32, width: int) -> tuple[UInt32, Int32, Int32]:
    """Edges by weight: bits of the weights, and the two pixels of each.

    A float32 that is not negative sorts like its bits. Three passes of 11 bits.
    """
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
            bucket = np.int64((word >> shift) & np.uint64(2047))
            position = counts[turn, bucket]
            counts[turn, bucket] = position + 1
            other[position] = word
        words, other = other, words
    ordered = np.empty(n, np.uint32)
    ones = np.empty(n, np.int32)
    twos = np.empty(n, np.int32)
    for i in range(n):
        ordered[i] = np.uint32(words[i] >> np.uint64(32))
        edge = np.int32(words[i] & np.uint64(0xFFFFFFFF))
        ones[i] = edge >> 1
        twos[i] = (edge >> 1) + 1 + (edge & 1) * (width - 1)
    return ordered, ones, twos


@njit(inline="always")
def _root(parents: Int32, i: int) -> int:
    """A region's root; its entry in ``parents`` is the region's size, negative."""
    while parents[i] >= 0:
        parent = int(parents[i])
        above = int(parents[parent])
        if above < 0:
            return parent
        parents[i] = above
        i = above
    return i


@njit(inline="always")
def _unite(parents: Int32, a: int, b: int) -> int:
    """Unite two roots, return the one that remains."""
    if parents[a] > parents[b]:
        a, b = b, a
    parents[a] += parents[b]
    parents[b] = a
    return a


@njit()
def _join_alike(
    weights: FloatArray,
    ones: Int32,
    twos: Int32,
    parents: Int32,
    lasts: FloatArray,
    k: np.float32,
    until_refused: bool,
) -> tuple[Int32, int]:
    """First pass: changes ``parents`` and ``lasts``; the positions of the edges refused, and where it stopped."""
    thresholds = np.empty(len(parents), np.float32)
    for i in range(len(parents)):
        thresholds[i] = lasts[i] - k / np.float32(parents[i])
    refused = np.empty(1 if until_refused else len(ones), np.int32)
    count = 0
    for i in range(len(ones)):
        a, b = _root(parents, ones[i]), _root(parents, twos[i])
        if a != b:
            w = weights[i]
            if w <= thresholds[a] and w <= thresholds[b]:
                a = _unite(parents, a, b)
                lasts[a] = w
                thresholds[a] = w - k / np.float32(parents[a])
            elif until_refused:
                return refused[:0], i
            else:
                refused[count] = i
                count += 1
    return refused[:count], len(ones)


@njit()
def _contract(
    weights: FloatArray, ones: Int32, twos: Int32, first: int, parents: Int32, lasts: FloatArray, owners: Int32
) -> tuple[FloatArray, Int32, Int32, Int32, FloatArray, Int32]:
    """Make each region a node: the edges from ``first`` on between different nodes, their parents, lasts and owners.

    ``owners`` (pixels,) names the node of each pixel. Nodes are numbered as they appear, so neighbours stay together.
    """
    names = np.full(len(parents), -1, np.int32)
    new_parents = np.empty(len(parents), np.int32)
    new_lasts = np.empty(len(parents), np.float32)
    new_owners = np.empty(len(owners), np.int32)
    count = 0
    for p in range(len(owners)):
        root = _root(parents, owners[p])
        if names[root] < 0:
            names[root] = count
            new_parents[count] = parents[root]
            new_lasts[count] = lasts[root]
            count += 1
        new_owners[p] = names[root]
    for i in range(len(parents)):
        if parents[i] >= 0:
            names[i] = names[_root(parents, i)]
    left = len(ones) - first
    new_weights = np.empty(left, np.float32)
    new_ones = np.empty(left, np.int32)
    new_twos = np.empty(left, np.int32)
    kept = 0
    for i in range(first, len(ones)):
        a, b = names[ones[i]], names[twos[i]]
        new_weights[kept], new_ones[kept], new_twos[kept] = weights[i], a, b
        kept += a != b
    return (
        new_weights[:kept].copy(),
        new_ones[:kept].copy(),
        new_twos[:kept].copy(),
        new_parents[:count].copy(),
        new_lasts[:count].copy(),
        new_owners,
    )


@njit()
def _join_small(ones: Int32, twos: Int32, parents: Int32, first: int, last: int, min_size: int) -> None:
    """Join along the edges ``first`` to ``last``, in that order, where a side is small."""
    for i in range(first, last):
        a, b = _root(parents, ones[i]), _root(parents, twos[i])
        if a != b and (-parents[a] < min_size or -parents[b] < min_size):
            _unite(parents, a, b)


@njit()
def _order_matters(ones: Int32, twos: Int32, parents: Int32, first: int, last: int, min_size: int) -> bool:
    """Whether the edges ``first`` to ``last``, of one weight, could join other regions in another order."""
    pairs = np.empty((COMPARED, 2), np.int32)
    count = 0
    for i in range(first, last):
        a, b = _root(parents, ones[i]), _root(parents, twos[i])
        if a == b or (-parents[a] >= min_size and -parents[b] >= min_size):
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
        pairs[count, 0], pairs[count, 1] = a, b
        count += 1
    for i in range(count):
        for j in range(i):
            for s in range(2):
                for t in range(2):
                    if pairs[i, s] != pairs[j, t]:
                        continue
                    # A is next to B and to C. Both joins happen in either order if each still finds a small side.
                    a, b, c = -parents[pairs[i, s]], -parents[pairs[i, 1 - s]], -parents[pairs[j, 1 - t]]
                    both = (c < min_size or a + b < min_size) and (b < min_size or a + c < min_size)
                    if count > 2 or not both:
                        return True
    return False


@njit()
def _join_all_small(
    weights: FloatArray, ones: Int32, twos: Int32, parents: Int32, position: int, min_size: int
) -> tuple[int, int]:
    """Second pass from ``position`` on; stops at a group of edges of one weight whose order matters.

    Returns where the group starts and ends; the number of edges twice at the end.
    """
    while position < len(ones):
        end = position + 1
        while end < len(ones) and weights[end] == weights[position]:
            end += 1
        if end > position + 1 and _order_matters(ones, twos, parents, position, end, min_size):
            return position, end
        _join_small(ones, twos, parents, position, end, min_size)
        position = end
    return position, position


@njit()
def _label(parents: Int32, owners: Int32) -> tuple[Int32, int]:
    """Labels 0, 1, 2 … by first appearance in raster order, and their number."""
    names = np.full(len(parents), -1, np.int32)
    labels = np.empty(len(owners), np.int32)
    count = 0
    for p in range(len(owners)):
        root = _root(parents, owners[p])
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


@dataclass(frozen=True)
class _State:
    """Regions part of the way through the first pass, as nodes of a graph: edges by weight; the rest as `_contract`."""

    weights: FloatArray
    ones: Int32
    twos: Int32
    parents: Int32
    lasts: FloatArray
    owners: Int32


def segment(
    image: ByteImage, ks: Sequence[float], sigma: float = SIGMA, min_size: int = MIN_SIZE
) -> list[Segmentation]:
    """Segment one image for several k.

    Args:
        image: (H, W) or (H, W, C) uint8.
        ks: greater for larger regions.
        sigma: of the Gaussian blur, in pixels.
        min_size: regions of fewer pixels join a neighbour.
    """
    height, width = image.shape[:2]
    pixels = height * width
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    blurred = np.ascontiguousarray(blurred, dtype=np.float32).reshape(height, width, -1)
    weights, edges = _weigh(blurred, False)
    bits, ones, twos = _sort(weights.view(np.uint32), edges, width)
    listed = ListedEdges(blurred)
    everything = np.arange(pixels, dtype=np.int32)
    state = _State(
        bits.view(np.float32), ones, twos, np.full(pixels, -1, np.int32), np.zeros(pixels, np.float32), everything
    )
    found: dict[float, Segmentation] = {}
    for k in sorted(set(ks)):
        # As long as the smallest k refuses nothing, no greater one does, and all join the same.
        if k < max(ks):
            _, stopped = _join_alike(*_graph(state), np.float32(k), True)
            state = _State(
                *_contract(state.weights, state.ones, state.twos, stopped, state.parents, state.lasts, state.owners)
            )
        mine = replace(state, parents=state.parents.copy(), lasts=state.lasts.copy())
        refused, _ = _join_alike(*_graph(mine), np.float32(k), False)
        left = replace(mine, weights=mine.weights[refused], ones=mine.ones[refused], twos=mine.twos[refused])
        _finish(left, listed, min_size)
        labels, number = _label(mine.parents, mine.owners)
        found[k] = Segmentation(labels.reshape(height, width), number)
    return [found[k] for k in ks]


def _graph(state: _State) -> tuple[FloatArray, Int32, Int32, Int32, FloatArray]:
    return state.weights, state.ones, state.twos, state.parents, state.lasts


def _finish(state: _State, listed: ListedEdges, min_size: int) -> None:
    """Second pass over the refused edges."""
    position = 0
    while position < len(state.ones):
        position, end = _join_all_small(state.weights, state.ones, state.twos, state.parents, position, min_size)
        if end > position:
            listed.join_small(state.weights[position], state.owners, state.parents, min_size)
            position = end


class ListedEdges:
    """The edges in both directions as OpenCV lists and sorts them; made and sorted only as far as it is asked for."""

    def __init__(self, blurred: FloatArray) -> None:
        self._blurred = blurred
        self._listed: tuple[FloatArray, Int32] | None = None
        self._nodes = lazy_nodes(0)
        self._used = 1

    def join_small(self, weight: np.float32, owners: Int32, parents: Int32, min_size: int) -> None:
        """Join the nodes of ``parents`` along the edges of just this weight, in OpenCV's order, where one is small."""
        edges = self.of_weight(weight)
        starts = edges >> 1
        ends = np.where(edges & 1, starts + self._blurred.shape[1], starts + 1)
        _join_small(owners[starts], owners[ends], parents, 0, len(edges), min_size)

    def of_weight(self, weight: np.float32) -> Int32:
        """Numbers of the edges of just this weight, in the order in which OpenCV meets them."""
        if self._listed is None:
            self._listed = _weigh(self._blurred, True)
            self._nodes = lazy_nodes(len(self._listed[0]))
        found, self._used = equal_items(*self._listed, *self._nodes, self._used, weight)
        return found
