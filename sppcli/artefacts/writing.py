"""HDF5 files written, sealed and compared with what was given."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
import xxhash

from sppcli.artefacts.reading import Array, Extents, Reader, extents, open_checked
from sppcli.runtime.checksums import WrittenFile, seal


class Writer:
    """A file being written; see `create`."""

    def __init__(self, target: WrittenFile, file: h5py.File) -> None:
        self._target = target
        self._file = file
        self._sums: dict[str, bytes] = {}
        self._given = 0

    def array(self, name: str, values: npt.ArrayLike, compress: bool = False) -> None:
        """Store an array; compressed means one chunk, Zstandard after bit-shuffling.

        Raises:
            OSError: it could not be written, as on a full disk.
        """
        data = np.asarray(values)
        if compress and data.size:
            options: dict[str, Any] = dict(hdf5plugin.Bitshuffle(cname="zstd", clevel=3))
            self._file.create_dataset(name, data=data, chunks=data.shape, **options)
        else:
            self._file.create_dataset(name, data=data)
            self._sums[name] = _sum_of(data)
            self._given += data.nbytes
        self.check()

    def strings(self, name: str, values: Sequence[str]) -> None:
        self._file.create_dataset(name, data=list(values), dtype=h5py.string_dtype(), shape=(len(values),))
        self.check()

    def copy_from(self, part: Reader, source: str, target: str) -> Extents:
        """Copy a data set as it is stored, without decompressing it; return where its values lie in this file."""
        self._file.require_group(str(Path(target).parent))
        part.copy_to(self._file, source, target)
        self.check()
        return extents(self._file[target])

    def check(self) -> None:
        """Raise the first write's failure, if there was one.

        Raises:
            OSError: says how many bytes the file has at least.
        """
        self._target.check(self._given)

    def sync(self) -> None:
        """Bring what has been copied so far to the disk.

        Raises:
            OSError: it could not be written.
        """
        self._target.sync()

    def link(self, name: str, file: str, source: str) -> None:
        """Let ``name`` lead to the data set ``source`` of ``file``, which lies in the same folder or below it; it must
        be one of `linking.FILES`."""
        self._file[name] = h5py.ExternalLink(file, source)
        self._target.check()

    def compare(self, path: Path) -> None:
        """Whether the finished file ``path`` holds the arrays that were given.

        Compressed ones are not unpacked again: none of their writes failed, and the seal was read from the file.

        Raises:
            OSError: an array is not what was written.
        """
        with open_checked(path, "") as (checked, file):
            reader = Reader(path, checked, file)
            for name, expected in self._sums.items():
                if _sum_of(reader.array(name)) != expected:
                    raise OSError(errno.EIO, "what was written reads back otherwise", str(path))


def _all_extents(file: h5py.File) -> dict[str, Extents]:
    """Where in the file the values of each data set lie."""
    found: dict[str, Extents] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and (lies := extents(item)):
            found[name] = lies

    file.visititems(add)
    return found


def _sum_of(data: Array) -> bytes:
    return xxhash.xxh3_64_digest(np.ascontiguousarray(data).data if data.size else b"")


@contextmanager
def sealed(temporary: Path) -> Iterator[Writer]:
    """A new HDF5 file, sealed and compared with what was given when the block ends well.

    Raises:
        OSError: it could not be written.
    """
    with WrittenFile(temporary) as target:
        with h5py.File(target, "w", libver=("earliest", "v112")) as file:
            writer = Writer(target, file)
            yield writer
            file.flush()
            writer.check()
            places = _all_extents(file)
        writer.check()
    writer.check()
    seal(temporary, places)
    writer.compare(temporary)
