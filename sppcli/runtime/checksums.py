"""Files whose every byte is checked before it is used.

A sealed file is its content and, behind it, one XXH3 checksum for each block of the content, and the names of its
parts. Libraries that do not know of the seal read the content as usual (HDF5 ignores what follows its own end).
`CheckedFile` gives out the content alone, and only bytes whose block has been found to be what was written: one
flipped bit is noticed before a library that trusts its input sees it.

Checksums tell accidents (disks, cables, copies that were cut), not malice: whoever changes a file on purpose can
seal it again.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import xxhash

from sppcli.errors import BadArtefact
from sppcli.runtime.files import NeedsRoom

BLOCKS = (1 << 12, 1 << 18)
"""Fewest and most bytes of content that one checksum (8 bytes) covers."""
WHOLE = 1 << 30
"""A file of at most so many bytes is checked as a whole when it is opened; a larger one block by block as it is
read."""

Extents = Mapping[str, Sequence[tuple[int, int]]]
"""Name of a part of the content -> where its bytes lie: (offset, count) each."""

_MAGIC = b"sppseal1"
# Magic; bytes of a block, of the content, of the names; checksum of the table, the names and these four.
_FOOTER = struct.Struct("<8sQQQ8s")
_READ_AT_ONCE = 1 << 22


def _sum(data: bytes | memoryview) -> bytes:
    return xxhash.xxh3_64_digest(data)


def seal(path: Path, extents: Extents | None = None) -> None:
    """Append the checksums of what ``path`` holds, and the names of its parts. The caller syncs.

    Raises:
        OSError: the file cannot be read or written, or the disk is full.
    """
    table = bytearray()
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        block = min(max(BLOCKS[0], 1 << (size >> 15).bit_length()), BLOCKS[1])
        file.seek(0)
        while data := file.read(block):
            table += _sum(data)
        names = json.dumps(extents or {}).encode()
        fields = struct.pack("<8sQQQ", _MAGIC, block, size, len(names))
        file.write(bytes(table) + names + fields + _sum(bytes(table) + names + fields))


class _Placed(io.RawIOBase):
    """A file-like object of ``size`` bytes with a position, as h5py asks for."""

    size: int
    _position = 0
    _descriptor = -1
    """-1 of a file that could not be opened, which Python closes all the same."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position


class CheckedFile(_Placed):
    """The content of a sealed file, for reading; ``readinto`` checks each block before it gives out its first byte.

    Attributes:
        size: bytes of the content.
        failed: why a block could not be given out, "" as long as all could.
        seal: checksum (hex) of the checksums: files with the same seal hold the same bytes.

    Raises:
        BadArtefact: the file is no regular file, has no seal or a damaged one, or is not as long as it was written. The
            text says why; the caller says which file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.failed = ""
        # Not blocking: a named pipe is opened at once, and refused.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(self._descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BadArtefact("not a regular file")
            self.size, self._block, self._table, self._names, self.seal = self._read_seal(found.st_size)
        except BaseException:
            self.close()
            raise
        self._checked = bytearray(len(self._table) // 8)

    def _read_seal(self, total: int) -> tuple[int, int, bytes, bytes, str]:
        footer = os.pread(self._descriptor, _FOOTER.size, max(0, total - _FOOTER.size))
        if len(footer) < _FOOTER.size or footer[:8] != _MAGIC:
            raise BadArtefact("it does not end as a file of spp does: it was cut, changed or made by another program")
        _, block, size, named, digest = _FOOTER.unpack(footer)
        entries = -(-size // block) if block else -1
        if entries < 0 or size + 8 * entries + named + _FOOTER.size != total:
            raise BadArtefact("it has another length than it was written with")
        tail = _pread(self._descriptor, 8 * entries + named, size)
        if _sum(tail + footer[:-8]) != digest:
            raise BadArtefact("its checksums are damaged")
        return size, block, tail[: 8 * entries], tail[8 * entries :], digest.hex()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base class has any buffer
        """Fill ``buffer`` from the present position as far as the content goes.

        Raises:
            OSError: a block is not what was written; `failed` says which.
        """
        view = memoryview(buffer).cast("B")
        start = self._position
        end = min(self.size, start + len(view))
        if start >= end:
            return 0
        first, last = start // self._block, (end - 1) // self._block
        if self._checked.find(0, first, last + 1) < 0:
            view[: end - start] = _pread(self._descriptor, end - start, start)
        else:
            step = max(1, _READ_AT_ONCE // self._block)
            for at in range(first, last + 1, step):
                self._copy(view, start, end, at, min(last, at + step - 1))
        self._position = end
        return end - start

    def _copy(self, view: memoryview, start: int, end: int, first: int, last: int) -> None:
        """Copy blocks ``first`` to ``last`` into their part of ``view``, which holds ``start`` to ``end``."""
        offset = first * self._block
        data = memoryview(_pread(self._descriptor, min(self.size, (last + 1) * self._block) - offset, offset))
        for block in range(first, last + 1):
            at = (block - first) * self._block
            if not self._checked[block]:
                if _sum(data[at : at + self._block]) != self._table[8 * block : 8 * block + 8]:
                    self.failed = self._named(block * self._block, min(self.size, (block + 1) * self._block))
                    raise OSError(f"{self.path}: {self.failed} are not what was written")
                self._checked[block] = 1
        low, high = max(start, offset), min(end, offset + len(data))
        view[low - start : high - start] = data[low - offset : high - offset]

    def _named(self, start: int, end: int) -> str:
        """Name the bytes from ``start`` to ``end``, and the parts that have some of them."""
        extents: Extents = json.loads(self._names)
        names = [
            name for name, parts in extents.items() if any(low < end and low + count > start for low, count in parts)
        ]
        of = f" ({', '.join(names[:5])})" if names else ""
        return f"bytes {start:,} to {end:,}{of}"

    def verify(self) -> None:
        """Check every block.

        Raises:
            OSError: a block is not what was written.
        """
        room = memoryview(bytearray(_READ_AT_ONCE))
        self.seek(0)
        while self.readinto(room):
            pass

    # What h5py asks of a file-like object, even of one that it only reads.
    def write(self, data: object) -> int:
        raise OSError(f"{self.path}: opened for reading")

    def truncate(self, size: int | None = None) -> int:
        raise OSError(f"{self.path}: opened for reading")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if not self.closed and self._descriptor >= 0:
            os.close(self._descriptor)
        super().close()


class WrittenFile(_Placed):
    """A new file for a library to write, which never sees a write fail.

    HDF5 may crash, or say nothing, when a write fails as it closes a file. Here the first failure is kept and the
    writes after it are dropped; `check` raises it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._failure: NeedsRoom | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self.size = 0

    def check(self, least: int = 0) -> None:
        """Raise the first failure, if there was one. ``least``: bytes that the file has in any case.

        Raises:
            OSError: as the system gave it, with the path.
        """
        if self._failure is not None:
            # Writes that were dropped count: as far as the file has come, it would be so long.
            self._failure.needed = max(self.size, least)
            raise self._failure

    def sync(self) -> None:
        """Bring what was written to the disk.

        Raises:
            OSError: it could not be written, now or before.
        """
        self.check()
        os.fsync(self._descriptor)

    def _keep(self, error: OSError) -> None:
        if self._failure is None:
            self._failure = NeedsRoom(error.errno, error.strerror, str(self.path))

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base class has any buffer
        """Read what was written; zeros stand where a write was dropped."""
        view = memoryview(buffer).cast("B")
        data = b"" if self._failure else os.pread(self._descriptor, len(view), self._position)
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))
        self._position += len(view)
        return len(view)

    def write(self, data: memoryview) -> int:  # type: ignore[override]  # the base class has any buffer
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self._failure is None:
            try:
                done += os.pwrite(self._descriptor, view[done:], self._position + done)
            except OSError as error:
                self._keep(error)
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        try:
            if self._failure is None:
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._keep(error)
        self.size = size
        return size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if not self.closed and self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:
                self._keep(error)
        super().close()


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    """Read ``count`` bytes from ``offset``; one system call returns 2 GiB at most."""
    data = os.pread(descriptor, count, offset)
    while len(data) < count:
        more = os.pread(descriptor, count - len(data), offset + len(data))
        if not more:
            raise OSError("the file ends before its content does")
        data += more
    return data
