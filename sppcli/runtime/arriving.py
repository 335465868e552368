"""Items that come one by one, such as lines that a person or a camera writes: taken in as many as are there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def as_they_come(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield what has come of ``items`` since the last time, at least one; waits only where there is nothing.

    An exception of ``items`` is raised after what came before it.
    """
    arrived: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue()

    def read() -> None:
        try:
            for item in items:
                arrived.put((item, None))
        except BaseException as error:
            arrived.put((None, error))
        else:
            arrived.put((None, StopIteration()))

    # It may wait for input for ever, which must not keep the process.
    threading.Thread(target=read, daemon=True, name="arriving").start()
    while True:
        here = [arrived.get()]
        while not arrived.empty():
            here.append(arrived.get())
        ended = here[-1][1]
        found = [item for item, error in here if error is None and item is not None]
        if found:
            yield found
        if isinstance(ended, StopIteration):
            return
        if ended is not None:
            raise ended
