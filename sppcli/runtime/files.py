"""Files that are complete under their own name, or not there at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sppcli.errors import BadInput, MissingInput, NoRoom

CHECKPOINT = ".checkpoint"
"""What the name of a training's checkpoint ends with."""

LONGEST_NAME = 255
"""Bytes of a file name on Linux and macOS."""


def user_cache() -> Path:
    """The folder for what can be had again: XDG_CACHE_HOME, or else ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache) if cache else Path.home() / ".cache"


def path_fault(name: str) -> str:
    """Why ``name`` cannot be that of a file in a folder, or in folders below it (``a/b``); "" if it can.

    Whatever a file of others names is asked about here before it becomes part of a path that is written to.
    """
    try:
        parts = [part.encode("utf-8") for part in name.split("/")]
    except UnicodeEncodeError:
        return "it is no Unicode text"
    if "\0" in name:
        return "it has a zero byte in it"
    if name.startswith("/"):
        return "it is a path from the root of the file system"
    if any(part in (b".", b"..") for part in parts):
        return "it leads to another folder"
    if not all(parts):
        return "it is empty, or a folder in it is"
    if max(map(len, parts)) > LONGEST_NAME:
        return f"it has more than {LONGEST_NAME} bytes"
    return ""


def inside(folder: Path, name: str) -> Path:
    """The file ``name`` in ``folder`` or in a folder below it.

    Raises:
        BadInput: it would lie elsewhere, or cannot be the name of a file.
    """
    if fault := path_fault(name):
        raise BadInput(f"{name[:100]!r} cannot be the name of a file: {fault}; rename it")
    return folder / name


# The system does not say of which file it speaks when a write fails.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def ensure_folder(path: Path) -> None:
    """Check that the folder of ``path`` exists.

    Raises:
        MissingInput: its folder does not exist.
    """
    if not path.parent.is_dir():
        raise MissingInput(f"{path}: the folder {path.parent} does not exist; create it or choose another -o")


def check_room(path: Path, least: int, likely: int) -> str:
    """Whether what a stage will write fits beside ``path``: "" if it does, a warning if it may not.

    Args:
        least: bytes that it cannot do without; ``likely``: those that it will take, unfinished work included.

    Raises:
        NoRoom: there are fewer than ``least``.
    """
    free = shutil.disk_usage(Path(os.path.realpath(path)).parent).free
    there = f"and {free:,} are free; free some space or name another place"
    if least > free:
        raise NoRoom(f"{path}: at least {least:,} bytes are needed {there}")
    return f"{path}: about {likely:,} bytes are needed while it is made {there}" if likely > free else ""


def checkpoint_of(output: Path) -> Path:
    """The checkpoint of the training that is to write ``output``."""
    return output.with_name(f"{output.name}{CHECKPOINT}")


@contextmanager
def replacing(path: Path, kept: Path | None = None, needed: int = 0) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; when the block ends well, the file is synced and becomes
    ``path``.

    A symbolic link stays, and what it leads to is replaced. What killed processes have left behind here is removed
    first. ``kept``: another temporary name, in the same file system, of a file that stays when the block fails.
    ``needed``: see `naming`.

    Raises:
        MissingInput: the folder does not exist.
        OSError: the disk is full, or the folder cannot be written to; names ``path`` and not the temporary file.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    ensure_folder(target)
    usual = temporary_name(target)
    temporary = kept or usual
    try:
        with naming(path, temporary, needed):
            # Libraries that make the file themselves may deny others to read it; here it gets the usual permissions.
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            commit(temporary, target)
    finally:
        usual.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, temporary: Path, needed: int = 0) -> Iterator[None]:
    """What goes wrong with ``temporary``, a file or a folder, is told of ``path``, with the room that it needed where
    the disk is full.

    ``needed``: bytes of it, as far as they are known; an error may know of more (`NeedsRoom`).
    """
    try:
        yield
    except OSError as error:
        if (error.errno in _OF_THE_DISK and error.filename is None) or _is_within(temporary, error):
            error.filename, error.filename2 = str(path), None
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and not getattr(error, "__notes__", ()):
                error.add_note(
                    _room_needed(temporary, max(needed, error.needed if isinstance(error, NeedsRoom) else 0))
                )
        raise


def temporary_owner(path: Path) -> int | None:
    """The process of this computer that has left ``path``, a temporary file, behind; None for any other file, and while
    that process runs."""
    found = re.fullmatch(rf"\..+\.{re.escape(_host())}\.([0-9]+)\.tmp", path.name)
    return int(found[1]) if found and not _alive(int(found[1])) else None


def _host() -> str:
    """This computer's name, as it stands in names of temporary files."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in socket.gethostname())


def _is_within(temporary: Path, error: OSError) -> bool:
    """Whether ``error`` is of ``temporary`` or of a file in it, be it one that was to be copied there."""
    names = (name for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike))
    return any(Path(name).is_relative_to(temporary) for name in names)


class NeedsRoom(OSError):
    """A write that failed, by a writer that knows how many bytes, at least, the file ``needed`` in all."""

    needed = 0


def _room_needed(temporary: Path, needed: int) -> str:
    """What a full disk lacks for a file of at least ``needed`` bytes; 0 if that is not known."""
    room = 0
    with suppress(OSError):
        # What has been written of it is free again when it is removed.
        room = shutil.disk_usage(temporary.parent).free + temporary.stat().st_size
    if needed:
        # Of a quota, and of what only root may use, the file system does not tell.
        free = f"{room:,} bytes are free, " if room < needed else ""
        return f"{free}at least {needed:,} bytes are needed"
    return f"more than {room:,} bytes are needed" if room else "no bytes are free"


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside ``path`` for the file or folder that will become it.

    What ended processes of this computer have left behind under such names is removed; what other computers write here,
    on a shared disk, is left alone.
    """
    stem = f".{path.name}.{_host()}."
    for leftover in path.parent.iterdir():
        writer = leftover.name.removeprefix(stem).removesuffix(".tmp")
        if leftover.name == f"{stem}{writer}.tmp" and writer.isdigit() and not _alive(int(writer)):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
    return path.with_name(f"{stem}{os.getpid()}.tmp")


def commit(temporary: Path, path: Path) -> None:
    """Sync a finished file to the disk and give it its name."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk, where the system can, before others that they stand for are removed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
