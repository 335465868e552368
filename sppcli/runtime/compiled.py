"""numba's ``njit``, whose results are kept in a file wherever the machine lets one be written.

numba keeps what it compiles in ``__pycache__`` beside the module or, where that cannot be written, in the user's cache
folder; where it can write neither, it refuses to compile at all. Then a folder of this user's own under the temporary
folder is used; if that cannot be written either, nothing is kept.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config, event

from sppcli.runtime import compiling

F = TypeVar("F", bound=Callable[..., Any])

# What numba says when it finds no folder; its type is a plain RuntimeError.
_REFUSAL = "no locator available"


def njit(**options: Any) -> Callable[[F], F]:
    """As `numba.njit`, with ``cache=True`` and ``nogil=True`` unless ``options`` say otherwise."""
    options = {"cache": True, "nogil": True, **options}

    def decorate(function: F) -> F:
        try:
            return _compiled(function, options)
        except RuntimeError as error:
            if _REFUSAL not in str(error):
                raise
        folder = _temporary()
        if folder is not None:
            setattr(config, "CACHE_DIR", str(folder))  # noqa: B010 (numba makes it at run time)
            # Worker processes look in this folder from the start.
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            return _compiled(function, options)
        return _compiled(function, {**options, "cache": False})

    return decorate


class _Announcer(event.Listener):
    """Passes on what numba says when it compiles; it says nothing of results that it finds kept."""

    def on_start(self, what: Any) -> None:
        compiling.begins(what.data["dispatcher"])

    def on_end(self, what: Any) -> None:
        compiling.ends()


event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]


def _compiled(function: F, options: dict[str, Any]) -> F:
    compiled: F = numba.njit(**options)(function)
    return compiled


def is_kept(function: Any) -> bool:
    """Whether a compilation of ``function``, made by `njit`, is kept that numba would take; its types are not asked.

    numba takes what its own version has made for this processor of the same source, of which it compares the content,
    or the time and size in earlier versions. It is asked for its index of all this, which has no public name. Should
    that ever be missing, nothing counts as kept, and more is announced than is compiled.
    """
    if function.stats.cache_path is None:
        return False
    cache = function._cache
    try:
        kept = cache._cache_file._load_index()
        _, processor, code = cache._index_key((), function.targetctx.codegen())
        return any(
            key[1:] == (processor, code) and Path(cache._cache_file._data_path(name)).exists()
            for key, name in kept.items()
        )
    except AttributeError:
        return False


def temporary_folder() -> Path:
    """The folder for compiled results if numba's own places cannot be written."""
    return Path(tempfile.gettempdir(), f"sppcli-numba-{os.getuid()}")


def _temporary() -> Path | None:
    """Return `temporary_folder`, made if needed; None if it cannot be written or might be another user's.

    numba runs what it finds there, and anyone may make a folder under the temporary one.
    """
    folder = temporary_folder()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            return None
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
