"""Hierarchical grouping (Uijlings et al. 2013, section 3.1): merge the two most similar neighbours until one is left.

A heap of pairs gives the sequence of merges, except where two pairs are equally similar and more than any other: OpenCV
takes the one that its unstable sort of the whole list, repeated at every merge, happens to leave last. `group` uses
the heap, and where it meets such a tie starts over with the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sppcli.proposals.selective_search.introsort import WIDE, introsort
from sppcli.proposals.selective_search.region_features import Regions, fill_similarity, overlaps, size_similarity
from sppcli.runtime.compiled import njit
from sppcli.structures import FloatArray

Int32 = npt.NDArray[np.int32]
Number = TypeVar("Number", np.int32, np.float32)


@dataclass(frozen=True)
class Strategy:
    """Weights of the four similarities; the weighted sum is divided by ``total``. All as float32."""

    colour: float
    fill: float
    texture: float
    size: float

    def numbers(self) -> FloatArray:
        """The weights in the order in which they are summed, and their sum."""
        weights = np.array([self.colour, self.fill, self.texture, self.size], np.float32)
        total = np.float32(0)
        for weight in weights:
            total += weight
        return np.append(weights, total)


ALL_FOUR = Strategy(0.25, 0.25, 0.25, 0.25)
WITHOUT_COLOUR = Strategy(0, 0.3333, 0.3333, 0.3333)
FILL_ALONE = Strategy(0, 1, 0, 0)
SIZE_ALONE = Strategy(0, 0, 0, 1)


@njit()
def _compare(
    one: int,
    others: Int32,
    sizes: Int32,
    boxes: Int32,
    colour: FloatArray,
    texture: FloatArray,
    strategy: FloatArray,
    pixels: int,
) -> FloatArray:
    """Similarity of region ``one`` with each of ``others`` (K,)."""
    count = len(others)
    result = np.zeros(count, np.float32)
    shared = np.empty(count, np.float32)
    if strategy[0] > 0:
        overlaps(colour, one, others, shared)
        for i in range(count):
            result[i] += strategy[0] * shared[i]
    if strategy[1] > 0:
        for i in range(count):
            other = others[i]
            result[i] += strategy[1] * fill_similarity(sizes[one], boxes[one], sizes[other], boxes[other], pixels)
    if strategy[2] > 0:
        overlaps(texture, one, others, shared)
        for i in range(count):
            result[i] += strategy[2] * shared[i]
    if strategy[3] > 0:
        for i in range(count):
            result[i] += strategy[3] * size_similarity(sizes[one], sizes[others[i]], pixels)
    for i in range(count):
        result[i] = result[i] / strategy[4]
    return result


@njit()
def _merge_histograms(histograms: FloatArray, a: int, b: int, new: int, size_a: int, size_b: int) -> None:
    weight_a, weight_b = np.float32(size_a), np.float32(size_b)
    total = np.float32(size_a + size_b)
    for k in range(histograms.shape[1]):
        histograms[new, k] = (histograms[a, k] * weight_a + histograms[b, k] * weight_b) / total


@njit()
def _merge(
    a: int, b: int, new: int, sizes: Int32, boxes: Int32, colour: FloatArray, texture: FloatArray, strategy: FloatArray
) -> None:
    """Make region ``new`` of ``a`` and ``b``."""
    if strategy[0] > 0:
        _merge_histograms(colour, a, b, new, sizes[a], sizes[b])
    if strategy[2] > 0:
        _merge_histograms(texture, a, b, new, sizes[a], sizes[b])
    boxes[new, 0], boxes[new, 1] = min(boxes[a, 0], boxes[b, 0]), min(boxes[a, 1], boxes[b, 1])
    boxes[new, 2], boxes[new, 3] = max(boxes[a, 2], boxes[b, 2]), max(boxes[a, 3], boxes[b, 3])
    sizes[new] = sizes[a] + sizes[b]


@njit()
def _push(keys: FloatArray, pairs: Int32, count: int, key: np.float32, a: int, b: int) -> None:
    i = count
    while i > 0 and keys[(i - 1) >> 1] < key:
        parent = (i - 1) >> 1
        keys[i], pairs[i, 0], pairs[i, 1] = keys[parent], pairs[parent, 0], pairs[parent, 1]
        i = parent
    keys[i], pairs[i, 0], pairs[i, 1] = key, a, b


@njit()
def _pop(keys: FloatArray, pairs: Int32, count: int) -> None:
    """Drop the greatest of ``count``."""
    last = count - 1
    key, a, b = keys[last], pairs[last, 0], pairs[last, 1]
    i = 0
    while 2 * i + 1 < last:
        child = 2 * i + 1
        if child + 1 < last and keys[child] < keys[child + 1]:
            child += 1
        if keys[child] <= key:
            break
        keys[i], pairs[i, 0], pairs[i, 1] = keys[child], pairs[child, 0], pairs[child, 1]
        i = child
    keys[i], pairs[i, 0], pairs[i, 1] = key, a, b


@njit()
def _link(
    number: int, starts: Int32, others: Int32, heads: Int32, tails: Int32, following: Int32, names: Int32
) -> None:
    """Begin the lists of neighbours of `_with_heap`: each pair of regions in the list of both."""
    entry = 0
    for i in range(number):
        for j in range(starts[i], starts[i + 1]):
            for side in range(2):
                here, there = (i, others[j]) if side == 0 else (others[j], i)
                names[entry] = there
                following[entry] = heads[here]
                if heads[here] < 0:
                    tails[here] = entry
                heads[here] = entry
                entry += 1


@njit()
def _neighbours(
    new: int, heads: Int32, tails: Int32, following: Int32, names: Int32, now: Int32, seen: Int32, near: Int32
) -> int:
    """Put the neighbours of the region ``new`` into ``near``, each once, and thin out its list; how many they are."""
    found = 0
    before, at = -1, heads[new]
    while at >= 0:
        region = names[at]
        while now[region] != region:
            now[region] = now[now[region]]
            region = now[region]
        if region == new or seen[region] == new:
            # Inside the new region, or met before.
            if before < 0:
                heads[new] = following[at]
            else:
                following[before] = following[at]
        else:
            seen[region] = new
            near[found] = region
            found += 1
            names[at] = region
            before = at
        at = following[at]
    tails[new] = before
    return found


@njit()
def _with_heap(
    number: int,
    starts: Int32,
    others: Int32,
    similarities: FloatArray,
    sizes: Int32,
    boxes: Int32,
    colour: FloatArray,
    texture: FloatArray,
    strategy: FloatArray,
    pixels: int,
) -> int:
    """Number of regions after all merges, or -1 at a tie."""
    count = len(others)
    keys = np.empty(2 * count + 16, np.float32)
    pairs = np.empty((2 * count + 16, 2), np.int32)
    # A region's neighbours: a list of entries that name initial regions, joined when regions merge. ``now`` leads from
    # an initial region to the one that it is part of.
    heads = np.full(2 * number, -1, np.int32)
    tails = np.full(2 * number, -1, np.int32)
    following = np.full(2 * count, -1, np.int32)
    names = np.empty(2 * count, np.int32)
    now = np.arange(2 * number, dtype=np.int32)
    _link(number, starts, others, heads, tails, following, names)
    for i in range(number):
        for j in range(starts[i], starts[i + 1]):
            _push(keys, pairs, WIDE(j), similarities[j], WIDE(i), WIDE(others[j]))
    alive = np.ones(2 * number, np.bool_)
    seen = np.full(2 * number, -1, np.int32)
    near = np.empty(2 * number, np.int32)
    new = number
    while count:
        key, a, b = keys[0], pairs[0, 0], pairs[0, 1]
        _pop(keys, pairs, count)
        count -= 1
        if not (alive[a] and alive[b]):
            continue
        while count and not (alive[pairs[0, 0]] and alive[pairs[0, 1]]):
            _pop(keys, pairs, count)
            count -= 1
        if count and keys[0] == key:
            return -1
        _merge(a, b, new, sizes, boxes, colour, texture, strategy)
        alive[a], alive[b] = False, False
        now[a], now[b] = new, new
        following[tails[a]] = heads[b]
        heads[new], tails[new] = heads[a], tails[b]
        found = _neighbours(new, heads, tails, following, names, now, seen, near)
        fresh = _compare(new, near[:found], sizes, boxes, colour, texture, strategy, pixels)
        if count + found > len(keys):
            more_keys = np.empty(2 * (count + found), np.float32)
            more_pairs = np.empty((2 * (count + found), 2), np.int32)
            # A loop: slices take the compiler long.
            for i in range(count):
                more_keys[i], more_pairs[i, 0], more_pairs[i, 1] = keys[i], pairs[i, 0], pairs[i, 1]
            keys, pairs = more_keys, more_pairs
        for i in range(found):
            _push(keys, pairs, WIDE(count), fresh[i], WIDE(near[i]), WIDE(new))
            count += 1
        new += 1
    return new


@njit()
def _with_list(
    number: int,
    starts: Int32,
    others: Int32,
    similarities: FloatArray,
    sizes: Int32,
    boxes: Int32,
    colour: FloatArray,
    texture: FloatArray,
    strategy: FloatArray,
    pixels: int,
) -> int:
    """As `_with_heap`, by sorting the list of pairs for every merge: what OpenCV does, ties included."""
    count = len(others)
    # The list never grows: a merge removes its own pair, and each pair that it adds stands for one or two that go.
    keys = similarities.copy()
    ones = np.empty(count, np.int32)
    for i in range(number):
        for j in range(starts[i], starts[i + 1]):
            ones[j] = i
    twos = others.copy()
    order = np.empty(count, np.int32)
    kept_keys, kept_ones, kept_twos = keys.copy(), ones.copy(), twos.copy()
    seen = np.full(2 * number, -1, np.int32)
    near = np.empty(2 * number, np.int32)
    new = number
    while count:
        for i in range(count):
            order[i] = i
        introsort(keys[:count], order[:count])
        a, b = ones[order[count - 1]], twos[order[count - 1]]
        _merge(a, b, new, sizes, boxes, colour, texture, strategy)
        found, kept = 0, 0
        for i in range(count):
            one, two = ones[order[i]], twos[order[i]]
            if one in (a, b) or two in (a, b):
                other = two if one in (a, b) else one
                if other not in (a, b) and seen[other] != new:
                    seen[other] = new
                    near[found] = other
                    found += 1
            else:
                kept_keys[kept], kept_ones[kept], kept_twos[kept] = keys[i], one, two
                kept += 1
        fresh = _compare(new, near[:found], sizes, boxes, colour, texture, strategy, pixels)
        for i in range(found):
            kept_keys[kept], kept_ones[kept], kept_twos[kept] = fresh[i], new, near[i]
            kept += 1
        keys, kept_keys = kept_keys, keys
        ones, kept_ones = kept_ones, ones
        twos, kept_twos = kept_twos, twos
        count = kept
        new += 1
    return new


@njit()
def _group(
    number: int,
    starts: Int32,
    others: Int32,
    sizes: Int32,
    boxes: Int32,
    colour: FloatArray,
    texture: FloatArray,
    strategy: FloatArray,
    pixels: int,
) -> int:
    """Fill the rows of the regions that merging makes, after the ``number`` initial ones; returns how many there are.

    ``colour`` and ``texture`` have no rows where ``strategy`` does not ask for them.
    """
    similarities = np.empty(len(others), np.float32)
    for i in range(number):
        mine = others[starts[i] : starts[i + 1]]
        found = _compare(i, mine, sizes, boxes, colour, texture, strategy, pixels)
        for j in range(len(mine)):
            similarities[starts[i] + j] = found[j]
    end = _with_heap(number, starts, others, similarities, sizes, boxes, colour, texture, strategy, pixels)
    if end < 0:
        end = _with_list(number, starts, others, similarities, sizes, boxes, colour, texture, strategy, pixels)
    return end


def group(regions: Regions, strategy: Strategy, pixels: int) -> Int32:
    """Boxes (M, 4) int32, x0 y0 x1 y1 half-open, of the initial regions and then of every merged one in order.

    Args:
        regions: of one segmentation.
        strategy: which similarities count.
        pixels: of the image.
    """
    number = len(regions.sizes)
    weights = strategy.numbers()
    boxes = _doubled(regions.boxes)
    end = _group(
        number,
        regions.starts,
        regions.others,
        _doubled(regions.sizes),
        boxes,
        _doubled(regions.colour[: number if weights[0] > 0 else 0]),
        _doubled(regions.texture[: number if weights[2] > 0 else 0]),
        weights,
        pixels,
    )
    return boxes[:end]


def _doubled(rows: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """``rows`` (N, ...) with room for as many again."""
    room = np.empty((2 * len(rows), *rows.shape[1:]), rows.dtype)
    room[: len(rows)] = rows
    return room
