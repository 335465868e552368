"""The order in which the C++ library's ``std::sort`` leaves equal keys, computed where it is needed.

``std::sort`` is not stable: equal keys come out in an order that follows from the algorithm alone. OpenCV's Selective
Search sorts graph edges and region pairs with it and takes them in that order, so its choice between equals is the
algorithm's. This is libstdc++'s: introsort (Musser 1997) with the median of three, Hoare's partition and a final
insertion sort over what was left in ranges of at most 16. Everything here moves ``keys`` and ``items`` together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.runtime.compiled import njit

Keys = npt.NDArray[np.float32]
Items = npt.NDArray[np.int32]
Nodes = npt.NDArray[np.int32]

# One type of integer for all callers: numba compiles a function anew for every other.
WIDE: Any = np.int64
SMALL = 16  # ranges no longer than this are left to insertion sort

# Columns of a node: a range of the array, the partitions it may still take, and what became of it.
START, END, LIMIT, RIGHT = 0, 1, 2, 3
# RIGHT of a node that is not split: not looked at yet, or sorted. Of a split one: its right child, after its left one.
UNTOUCHED, SORTED = 0, -1


@njit(inline="always")
def _swap(keys: Keys, items: Items, a: int, b: int) -> None:
    keys[a], keys[b] = keys[b], keys[a]
    items[a], items[b] = items[b], items[a]


@njit()
def _partition(keys: Keys, items: Items, first: int, last: int) -> int:
    """Move the median of three to ``first``, partition the rest around it, return where the right part begins."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    if keys[a] < keys[b]:
        if keys[b] < keys[c]:
            median = b
        elif keys[a] < keys[c]:
            median = c
        else:
            median = a
    elif keys[a] < keys[c]:
        median = a
    elif keys[b] < keys[c]:
        median = c
    else:
        median = b
    _swap(keys, items, first, median)
    pivot = keys[first]
    left, right = first + 1, last
    while True:
        while keys[left] < pivot:
            left += 1
        right -= 1
        while pivot < keys[right]:
            right -= 1
        if left >= right:
            return left
        _swap(keys, items, left, right)
        left += 1


@njit()
def _insertion_sort(keys: Keys, items: Items, first: int, last: int) -> None:
    for i in range(first + 1, last):
        key, item = keys[i], items[i]
        j = i
        while j > first and key < keys[j - 1]:
            keys[j], items[j] = keys[j - 1], items[j - 1]
            j -= 1
        keys[j], items[j] = key, item


@njit()
def _sift(keys: Keys, items: Items, first: int, hole: int, length: int, key: np.float32, item: int) -> None:
    """Let the hole sink to a leaf along the greater children, then put ``key`` there and let it rise."""
    top = hole
    child = hole
    while child < (length - 1) // 2:
        child = 2 * (child + 1)
        if keys[first + child] < keys[first + child - 1]:
            child -= 1
        keys[first + hole], items[first + hole] = keys[first + child], items[first + child]
        hole = child
    if length % 2 == 0 and child == (length - 2) // 2:
        child = 2 * child + 1
        keys[first + hole], items[first + hole] = keys[first + child], items[first + child]
        hole = child
    while hole > top and keys[first + (hole - 1) // 2] < key:
        parent = (hole - 1) // 2
        keys[first + hole], items[first + hole] = keys[first + parent], items[first + parent]
        hole = parent
    keys[first + hole], items[first + hole] = key, item


@njit()
def _heap_sort(keys: Keys, items: Items, first: int, last: int) -> None:
    length = last - first
    for parent in range((length - 2) // 2, -1, -1):
        _sift(keys, items, first, parent, length, keys[first + parent], items[first + parent])
    for end in range(length - 1, 0, -1):
        key, item = keys[first + end], items[first + end]
        keys[first + end], items[first + end] = keys[first], items[first]
        _sift(keys, items, first, WIDE(0), end, key, item)


@njit()
def _depth_limit(length: int) -> int:
    limit = 0
    while length > 1:
        length >>= 1
        limit += 2
    return limit


@njit()
def introsort(keys: Keys, items: Items) -> None:
    """Sort ``keys`` (N,) float32 ascending in place and ``items`` (N,) int32 with them, equal ones as ``std::sort``."""
    # Right parts wait here while the left ones are partitioned; each is partitioned on its own, in any order.
    stack = np.empty((_depth_limit(len(keys)) + 2, 3), np.int64)
    stack[0, START], stack[0, END], stack[0, LIMIT] = 0, len(keys), _depth_limit(len(keys))
    depth = 1
    while depth:
        depth -= 1
        first, last, limit = stack[depth, START], stack[depth, END], stack[depth, LIMIT]
        while last - first > SMALL and limit:
            limit -= 1
            cut = _partition(keys, items, first, last)
            stack[depth, START], stack[depth, END], stack[depth, LIMIT] = cut, last, limit
            depth += 1
            last = cut
        if last - first > SMALL:
            _heap_sort(keys, items, first, last)
        else:
            _insertion_sort(keys, items, first, last)


def lazy_nodes(length: int) -> tuple[Nodes, Keys]:
    """What `equal_items` remembers between calls: nodes (2N, 4) int32 and their pivots (2N,) float32.

    No more can be needed. Memory that is not written is not taken from the system.
    """
    nodes = np.empty((max(2, 2 * length), 4), np.int32)
    nodes[0] = 0, length, _depth_limit(length), UNTOUCHED
    return nodes, np.empty(len(nodes), np.float32)


@njit()
def equal_items(
    keys: Keys, items: Items, nodes: Nodes, pivots: Keys, used: int, wanted: np.float32
) -> tuple[Items, int]:
    """Items whose key is ``wanted`` in the order of the sorted array, by sorting no more of it than that takes.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | keys, items | (N,) | float32, int32 | in any order at first; changed in place, go on with them as they are |
    | nodes, pivots | | | from `lazy_nodes`; the ranges found so far |
    | used | | | nodes in use: 1 at first, then what the call before returned |
    | returns | (K,) | int32 | the items, and the nodes now in use |
    """
    found = np.empty(SMALL, np.int32)
    count = 0
    stack = np.empty(2 * _depth_limit(len(keys)) + 4, np.int32)
    stack[0] = 0
    depth = 1
    while depth:
        depth -= 1
        node = stack[depth]
        # As in `introsort`, so that what both call is compiled once.
        first, last, limit = WIDE(nodes[node, START]), WIDE(nodes[node, END]), nodes[node, LIMIT]
        if nodes[node, RIGHT] == UNTOUCHED:
            if last - first <= SMALL:
                _insertion_sort(keys, items, first, last)
                nodes[node, RIGHT] = SORTED
            elif limit == 0:
                _heap_sort(keys, items, first, last)
                nodes[node, RIGHT] = SORTED
            else:
                cut = _partition(keys, items, first, last)
                pivots[node] = keys[first]
                left, right = used, used + 1
                used += 2
                nodes[left, START], nodes[left, END], nodes[left, LIMIT] = first, cut, limit - 1
                nodes[right, START], nodes[right, END], nodes[right, LIMIT] = cut, last, limit - 1
                nodes[left, RIGHT] = UNTOUCHED
                nodes[right, RIGHT] = UNTOUCHED
                nodes[node, RIGHT] = right
        if nodes[node, RIGHT] == SORTED:
            for i in range(first, last):
                if keys[i] == wanted:
                    if count == len(found):
                        larger = np.empty(2 * count, np.int32)
                        for j in range(count):
                            larger[j] = found[j]
                        found = larger
                    found[count] = items[i]
                    count += 1
        else:
            if wanted >= pivots[node]:
                stack[depth] = nodes[node, RIGHT]
                depth += 1
            if wanted <= pivots[node]:
                stack[depth] = nodes[node, RIGHT] - 1
                depth += 1
    return found[:count], used
