"""Tells the user that a stage waits for the compiler.

numba compiles a function at its first call with new types, which takes seconds, and keeps the result for the next
process (see `sppcli.runtime.compiled`). Which functions a stage will call depends on the network, the device and the
precision. They are therefore not compiled in advance, as those of Selective Search are
(`proposals.selective_search.warm_up`); instead numba reports when it begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")


class _Listener:
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.warned = False


# The listeners of the stages that run, innermost last. This is no context variable: threads of a stage compile too.
_listeners: list[_Listener] = []
# While a function is compiled, those that it calls are compiled too: only the outermost is reported.
_depth = threading.local()


@contextmanager
def announced(progress: Progress) -> Iterator[None]:
    """Inside, ``progress`` is told of every compilation in this process. numba is not imported for this."""
    listener = _Listener(progress)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announces_compiling(stage: Callable[P, R]) -> Callable[P, R]:
    """Decorate a stage's function: compilations are `announced` to the progress in its keyword argument ``options``."""

    @wraps(stage)
    def told(*arguments: P.args, **named: P.kwargs) -> R:
        with announced(cast(RunOptions, named.get("options", USUAL)).progress):
            return stage(*arguments, **named)

    return told


def begins(function: Any) -> None:
    """Report that ``function``, a dispatcher of numba's, is being compiled in this thread."""
    _depth.value = getattr(_depth, "value", 0) + 1
    if _depth.value > 1 or not _listeners:
        return
    listener = _listeners[-1]
    name = str(function.py_func.__module__).removeprefix("sppcli.")
    if function.stats.cache_path is None and not listener.warned:
        listener.warned = True
        listener.progress.warn(
            f"compiled code can be kept nowhere, so {name} and others are compiled in every run; set NUMBA_CACHE_DIR "
            "to a folder that can be written"
        )
    often = "in every run" if function.stats.cache_path is None else "once on this computer"
    listener.progress.note(f"compiling {name}, {often}")


def ends() -> None:
    """Report that the compilation reported by `begins` has ended."""
    _depth.value -= 1
    if not _depth.value and _listeners:
        _listeners[-1].progress.note("")
