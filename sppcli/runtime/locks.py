"""One run at a time works on an output: a second one waits, or names the process that works on it.

The lock is the operating system's, held on a hidden file beside the output: it ends with its process, whatever ends
that, so none is ever left behind. What the file says of its owner is for people only.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sppcli.errors import Busy
from sppcli.runtime import torchrun
from sppcli.runtime.options import USUAL, RunOptions

F = TypeVar("F", bound=Callable[..., Any])


def lock_file(output: Path) -> Path:
    """The hidden file beside what ``output`` leads to."""
    real = output.resolve() if output.is_symlink() else output.absolute()
    return real.with_name(f".{real.name}.lock")


@contextmanager
def held(output: Path, options: RunOptions = USUAL) -> Iterator[None]:
    """Hold the lock of ``output``; with ``options.wait``, wait for it first.

    Where no lock can be made (a folder that is not there or not to be written to), there is none: nothing can be
    written there either, and the stage says so.

    Raises:
        Busy: another process works on it; the text says which.
    """
    from filelock import FileLock, Timeout

    path = lock_file(output)
    if not path.parent.is_dir():
        yield
        return
    lock = FileLock(path, timeout=-1 if options.wait else 0)
    try:
        if options.wait:
            with suppress(Timeout):
                lock.acquire(timeout=0)
            if not lock.is_locked:
                options.progress.note(f"waiting: {_owner(path)} works on {output}")
                lock.acquire()
                options.progress.note("")
        else:
            lock.acquire()
    except Timeout:
        raise Busy(f"{output}: {_owner(path)} works on it; wait until it has ended, or give --wait") from None
    except OSError:
        yield
        return
    try:
        # Who holds it is for people only: on a full disk there is no room even for that.
        with suppress(OSError):
            path.write_text(json.dumps(_this_process()), encoding="utf-8")
        yield
    finally:
        # Removed while it is held: a process that opened it meanwhile sees that its name is gone, and makes a new one.
        path.unlink(missing_ok=True)
        lock.release()


def one_at_a_time(stage: F) -> F:
    """Decorate a stage's ``run``: it holds the lock of its ``output`` (or ``destination``); a dry run needs none."""
    return _locked(stage, lambda: True)


def one_training_at_a_time(stage: F) -> F:
    """As `one_at_a_time`, of a stage on whose one output processes that torchrun started work together: the first of
    them holds the lock."""
    return _locked(stage, lambda: not torchrun.follows())


def _locked(stage: F, holds: Callable[[], bool]) -> F:
    signature = inspect.signature(stage)

    @functools.wraps(stage)
    def run(*args: Any, **named: Any) -> Any:
        given = signature.bind(*args, **named).arguments
        output = given.get("output") or given.get("destination")
        options: RunOptions = given.get("options", USUAL)
        if output is None or options.dry_run or not holds():
            return stage(*args, **named)
        with held(output, options):
            return stage(*args, **named)

    return run  # type: ignore[return-value]  # the same signature


def _this_process() -> dict[str, Any]:
    started = time.strftime("%Y-%m-%d %H:%M")
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv), "started": started}


def _owner(path: Path) -> str:
    """Describe who holds the lock, as far as its file says."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']} ({owner['command']}, since {owner['started']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
