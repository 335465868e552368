"""Compute the next items while the present one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 2, threads: int = 1
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` in order; up to ``ahead`` results are made in advance by ``threads`` threads.

    An exception of ``function`` is raised where its result would have come.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
        waiting: deque[Future[Result]] = deque()
        upcoming = iter(items)
        try:
            while True:
                while len(waiting) < ahead:
                    try:
                        waiting.append(pool.submit(function, next(upcoming)))
                    except StopIteration:
                        break
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
