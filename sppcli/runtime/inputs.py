"""Files that others made, opened: regular files alone.

A named pipe has no end until someone writes to it, a device may have none at all, and a link may lead to itself; opened
like a file they would hold a stage up for ever. Everything that reads a path from outside opens it here, or asks
`check_regular` first where a library opens it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST_FILE = 8 << 30
"""Bytes. No annotation, list or image is larger; what is would fill the memory."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path) -> BinaryIO:
    """``path``, opened to read bytes. It is never waited for.

    Raises:
        OSError: it cannot be opened, or is no regular file; ``strerror`` says why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:  # a zero byte, or half of a surrogate pair
        raise FileNotFoundError(errno.ENOENT, "no file can have this name", ascii(str(path))) from None
    except OSError as error:
        if error.errno != errno.ENXIO:  # as a socket answers
            raise
        raise _irregular("a socket", path) from None
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: Path) -> None:
    """For libraries that open a file themselves.

    Raises:
        OSError: as `open_regular`.
    """
    open_regular(path).close()


def read_regular(path: Path, limit: int = LARGEST_FILE) -> bytes:
    """The bytes of ``path``.

    Raises:
        OSError: as `open_regular`, or it has more than ``limit`` bytes.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"its {size:,} bytes are more than the {limit:,} that are read", str(path))
        # As many as it said it has: a file of the system may say none and never end.
        return file.read(size)


def is_there(path: Path) -> bool:
    """Whether there is something called ``path``; no for names that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):  # longer than a name may be, or with a zero byte
        return False


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _irregular(next((kind for test, kind in _KINDS if test(mode)), "no file"), path)


def _irregular(kind: str, path: Path) -> OSError:
    return OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))
