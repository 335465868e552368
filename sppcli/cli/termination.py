"""SIGTERM, by which `kill`, a scheduler or a shutdown asks a process to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(BaseException):
    """SIGTERM came: `kill`, a scheduler or a shutdown asks the process to end."""


@contextmanager
def sigterm_ends_cleanly() -> Iterator[None]:
    """Meanwhile SIGTERM ends a command as Ctrl-C does: what is unfinished is taken away, and workers end."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may decide, and a program that calls us from another has its own ways.
        yield
        return

    def end(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
