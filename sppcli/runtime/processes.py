"""One function over many items, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from sppcli.errors import WorkerKilled

Item = TypeVar("Item")
Result = TypeVar("Result")


def _end_with(parent: int) -> None:
    """End this worker process when ``parent``, which started it, has ended for whatever reason.

    A worker waits on a queue, and is not told when the process at the other end is killed.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()
    # Ctrl-C reaches the whole group of processes; the parent decides how the run ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_many(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, apart: bool = False
) -> Iterator[tuple[int, Result]]:
    """Yield ``(index, function(item))`` as results come, in no particular order.

    With one job everything runs in this process, unless there are several items and ``apart`` asks for a process of
    their own: for a caller that has work to do with each result. With more jobs, items run in fresh processes ("spawn":
    nothing is inherited, so a result cannot depend on what this process did before). ``function`` must be a module's
    top-level function or a partial of one.

    Raises:
        WorkerKilled: a worker process was killed.
        Exception: whatever ``function`` raises.
    """
    if (jobs <= 1 and not apart) or len(items) <= 1:
        for index, item in enumerate(items):
            yield index, function(item)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        min(jobs, len(items)), mp_context=context, initializer=_end_with, initargs=(os.getpid(),)
    )
    try:
        # A bounded queue: results are taken as they come and memory does not grow with the number of items.
        waiting: dict[Future[Result], int] = {}
        upcoming = iter(enumerate(items))
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < 2 * jobs:
                try:
                    index, item = next(upcoming)
                except StopIteration:
                    exhausted = True
                else:
                    waiting[executor.submit(function, item)] = index
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool:
        raise WorkerKilled(
            "a worker process was killed, most often because memory ran out; run again with fewer -j "
            "(finished images are kept)"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
