"""Putting together what a network can take at once: items of the same shape."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Shape = TypeVar("Shape", bound=Hashable)


def same_shape(
    items: Iterable[Item], shape: Callable[[Item], Shape], at_once: Callable[[Shape], int], held: int
) -> Iterator[list[Item]]:
    """Batches of items of equal shape, each item once; within a shape in the order of ``items``.

    Args:
        at_once: the largest batch of a shape.
        held: at most so many items wait for others of their shape; beyond it the largest batch goes as it is.
    """
    waiting: dict[Shape, list[Item]] = {}
    count = 0
    for item in items:
        here = shape(item)
        batch = waiting.setdefault(here, [])
        batch.append(item)
        count += 1
        if len(batch) < at_once(here):
            if count <= held:
                continue
            # The first of the largest: photographs of a rare size may wait, those of a common one go.
            here = max(waiting, key=lambda key: len(waiting[key]))
        ready = waiting.pop(here)
        count -= len(ready)
        yield ready
    yield from waiting.values()
