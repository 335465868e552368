"""Data sets of sealed HDF5 files, read so that damage is the file's fault and names it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from sppcli.errors import BadArtefact
from sppcli.runtime.checksums import WHOLE, CheckedFile

Array = npt.NDArray[Any]
Extents = list[tuple[int, int]]
"""Where in a file something lies: (offset, bytes) each."""


class Reader:
    """Data sets of an open file, by name. Every byte has been checked against the file's seal."""

    def __init__(self, path: Path, checked: CheckedFile, file: h5py.File, again: str = "make it again") -> None:
        self.path = path
        self._again = again
        self._checked = checked
        self._file = file

    def __contains__(self, name: str) -> bool:
        with self._holder(name) as (held, name):
            return is_own(held._file, name)

    def array(self, name: str) -> Array:
        """A whole data set.

        Raises:
            BadArtefact: its bytes are not those that were written, or cannot be decoded.
        """
        with self._holder(name) as (held, name):
            return np.asarray(own_data(held._file, name)[()])

    def runs(self, name: str, runs: Sequence[tuple[int, int]]) -> Array:
        """Rows of a data set, one run of them (from, to) after the other; nothing else of it is read.

        Raises:
            BadArtefact: as for `array`.
        """
        with self._holder(name) as (held, name):
            data = own_data(held._file, name)
            found = np.empty((sum(end - start for start, end in runs), *data.shape[1:]), data.dtype)
            at = 0
            for start, end in runs:
                if start < end:
                    data.read_direct(found, np.s_[start:end], np.s_[at : at + end - start])
                at += end - start
            return found

    def strings(self, name: str) -> tuple[str, ...]:
        with self._holder(name) as (held, name):
            return tuple(str(text) for text in own_data(held._file, name).asstr()[()])

    def shape(self, name: str) -> tuple[int, ...]:
        with self._holder(name) as (held, name):
            return tuple(own_data(held._file, name).shape)

    def names(self) -> list[str]:
        """Every data set's full name."""
        found: list[str] = []
        with self._reading("the list of its data sets"):
            self._file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        return found

    def stored_bytes(self) -> int:
        """Bytes that the data sets take on disk, compressed."""
        names = self.names()
        with self._reading("the list of its data sets"):
            return sum(int(self._file[name].id.get_storage_size()) for name in names)

    def copy_to(self, target: h5py.File, source: str, name: str) -> None:
        """Copy a data set into another file as it is stored."""
        with self._holder(source) as (held, source):
            target.copy(own_data(held._file, source), target, name=name)

    def extents(self, name: str) -> Extents:
        """Where in the file the data set's values lie."""
        with self._holder(name) as (held, name):
            return extents(own_data(held._file, name))

    def verify(self) -> None:
        """Check every byte of the file.

        Raises:
            BadArtefact: some are not those that were written.
        """
        with self._reading("the file"):
            self._checked.verify()

    @property
    def seal(self) -> str:
        """What tells the file's content from any other: see `CheckedFile`."""
        return self._checked.seal

    @contextmanager
    def _holder(self, name: str) -> Iterator[tuple[Reader, str]]:
        """The open file that holds the data set ``name``, and its name there, while it is read."""
        with self._reading(name):
            yield self, name

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """What goes wrong in HDF5's library while it reads ``name`` is the file's fault."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise BadArtefact(
                f"{self.path}: {name} is damaged ({damage(self._checked, error)}); {self._again}"
            ) from None


@contextmanager
def open_checked(path: Path, again: str, lazily: bool = False) -> Iterator[tuple[CheckedFile, h5py.File]]:
    """The sealed file and HDF5's view of it; ``again`` ends the sentence of an error.

    A file of up to `WHOLE` bytes is checked now, all of it; a larger one, or ``lazily``, what is read as it is read.

    Raises:
        BadArtefact: not a whole file of spp, or not HDF5.
    """
    try:
        checked = CheckedFile(path)
    except (BadArtefact, OSError) as error:
        raise BadArtefact(f"{path}: not a readable HDF5 file of spp ({_brief(error)}){again}") from None
    with checked:
        try:
            if checked.size <= WHOLE and not lazily:
                checked.verify()
            file = h5py.File(checked, "r")
        except (OSError, RuntimeError) as error:
            raise BadArtefact(f"{path}: not a readable HDF5 file of spp ({damage(checked, error)}){again}") from None
        with file:
            yield checked, file


def is_own(file: h5py.File, name: str) -> bool:
    """Whether ``name`` is in the file itself, on a path without links to other places or files."""
    place: h5py.Group = file
    parts = name.strip("/").split("/")
    for i, part in enumerate(parts):
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            return False
        if i < len(parts) - 1:
            place = place[part]
            if not isinstance(place, h5py.Group):
                return False
    return True


def own_data(file: h5py.File, name: str) -> h5py.Dataset:
    """A data set all of whose values are stored in the file itself."""
    if not is_own(file, name):
        raise ValueError("it is missing, or a link")
    data = file[name]
    if data.external or data.is_virtual:
        raise ValueError("its values lie in another file")
    if data.chunks:
        wanted = math.prod(-(-side // chunk) for side, chunk in zip(data.shape, data.chunks, strict=True))
        whole = data.id.get_num_chunks() == wanted
    elif h5py.check_string_dtype(data.dtype) is not None:
        # What is stored here are pointers to them.
        whole = not data.size or data.id.get_storage_size() > 0
    else:
        whole = data.id.get_storage_size() == data.size * data.id.get_type().get_size()
    if not whole:
        raise ValueError("not all of its values are stored")
    return data


def extents(data: h5py.Dataset) -> Extents:
    """Where in its file the values of a data set lie; those of strings lie among HDF5's own data."""
    if data.chunks:
        chunks = (data.id.get_chunk_info(i) for i in range(data.id.get_num_chunks()))
        return [(chunk.byte_offset, chunk.size) for chunk in chunks]
    start = data.id.get_offset()
    return [] if start is None else [(start, data.id.get_storage_size())]


def damage(checked: CheckedFile, error: Exception) -> str:
    """What is wrong with the file: bytes that are not those written, or what the library says."""
    return f"{checked.failed} are not what was written" if checked.failed else _brief(error)


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0].split(" (")[0] if str(error) else type(error).__name__
