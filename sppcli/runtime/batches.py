"""Putting together what a network can take at once: items of the same shape."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Shape = TypeVar("Shape", bound=Hashable)


def same_shape(
    items: Iterable[Item],
    shape: Callable[[Item], Shape],
    at_once: Callable[[Shape], int],
    held: int,
    weight: Callable[[Item], int] = lambda _: 1,
) -> Iterator[list[Item]]:
    """Batches of items of equal shape, each item once; within a shape in the order of ``items``.

    Args:
        at_once: the largest batch of a shape.
        held: so many items at most wait for others of their shape; when there are more, the largest batch is given out
            as it is.
        weight: what an item counts towards ``held`` (its bytes, say), in place of 1.
    """
    waiting: dict[Shape, list[Item]] = {}
    weights: dict[Shape, int] = {}
    for item in items:
        here = shape(item)
        waiting.setdefault(here, []).append(item)
        weights[here] = weights.get(here, 0) + weight(item)
        if len(waiting[here]) >= at_once(here):
            del weights[here]
            yield waiting.pop(here)
        while sum(weights.values()) > held:
            # The first of the largest batches: rare sizes may wait, a common one is given out.
            here = max(weights, key=weights.__getitem__)
            del weights[here]
            yield waiting.pop(here)
    yield from waiting.values()
