"""Open, check, commit and resume the HDF5 files of `schema`. The only module that touches h5py.

A file under its final name is complete: it is written under a temporary name in the same folder, synced and
renamed. A long stage commits a part per image into ``NAME.parts/`` first; killed at any instant, its next run
takes the parts it finds and goes on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
import xxhash

from sppcli import __version__
from sppcli.artefacts.schema import SCHEMAS, Field, Schema
from sppcli.errors import BadArtefact, MissingInput
from sppcli.runtime.checksums import WHOLE, CheckedFile, WrittenFile, seal
from sppcli.runtime.files import commit, ensure_folder, naming, replacing

Array = npt.NDArray[Any]
Json = dict[str, Any]

# Root attributes that hold JSON: the fields of a `Header` after its kind, in their order.
_JSON_ATTRIBUTES = ("config", "inputs", "source", "summary")


@dataclass(frozen=True)
class Header:
    """What made a file. ``fingerprint`` changes when, and only when, the content may."""

    kind: str
    config: Json
    inputs: dict[str, str]
    source: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return digest_of(
            {
                "kind": self.kind,
                "schema_version": SCHEMAS[self.kind].version,
                "config": self.config,
                "inputs": self.inputs,
            }
        )


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Reader:
    """Data sets of an open file, by name. Every byte has been checked against the file's seal."""

    def __init__(self, path: Path, checked: CheckedFile, file: h5py.File, again: str = "make it again") -> None:
        self.path = path
        self._again = again
        self._checked = checked
        self._file = file

    def __contains__(self, name: str) -> bool:
        with self._reading(name):
            return _is_own(self._file, name)

    def array(self, name: str) -> Array:
        """A whole data set.

        Raises:
            BadArtefact: its bytes are not those that were written, or cannot be decoded.
        """
        with self._reading(name):
            return np.asarray(self._data(name)[()])

    def strings(self, name: str) -> tuple[str, ...]:
        with self._reading(name):
            return tuple(str(text) for text in self._data(name).asstr()[()])

    def shape(self, name: str) -> tuple[int, ...]:
        with self._reading(name):
            return tuple(self._data(name).shape)

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
        with self._reading(source):
            target.copy(self._data(source), target, name=name)

    def verify(self) -> None:
        """Check every byte of the file.

        Raises:
            BadArtefact: some are not those that were written.
        """
        with self._reading("the file"):
            self._checked.verify()

    def _data(self, name: str) -> h5py.Dataset:
        return _own_data(self._file, name)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """What goes wrong in HDF5's library while it reads ``name`` is the file's fault."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise BadArtefact(
                f"{self.path}: {name} is damaged ({_damage(self._checked, error)}); {self._again}"
            ) from None


class _Described(dict[str, Any]):
    """A table of a file's description: asked for a key that it lacks, it says which file that is."""

    def __init__(self, values: Any = (), lacks: str = "") -> None:
        super().__init__(values)
        self._lacks = lacks

    def __missing__(self, key: str) -> Any:
        if not self._lacks:
            raise KeyError(key)
        raise BadArtefact(self._lacks.format(key))

    def __reduce__(self) -> tuple[type, tuple[Json]]:
        return dict, (dict(self),)


class Artefact(Reader):
    """An open file of a known kind: its data sets and what made them."""

    def __init__(self, path: Path, checked: CheckedFile, file: h5py.File, schema: Schema) -> None:
        super().__init__(path, checked, file, _remedy(schema))
        self.schema = schema
        self.tool_version = str(file.attrs["tool_version"])
        self.fingerprint = str(file.attrs["fingerprint"])
        self.header = Header(
            schema.kind,
            *(json.loads(file.attrs[name], object_hook=self._described) for name in _JSON_ATTRIBUTES),
        )
        if self.header.fingerprint != self.fingerprint:
            raise BadArtefact(
                f"{path}: its description is not the one of its fingerprint; run {schema.made_by} --force to make it "
                "again"
            )

    def _described(self, value: Json) -> Json:
        return _Described(value, f"{self.path}: its description has no {{}}; run {self.schema.made_by} --force")


@contextmanager
def open_artefact(path: Path, kind: str | None = None) -> Iterator[Artefact]:
    """Open a file for reading and check that it is what it should be.

    Raises:
        MissingInput: not there; says which command makes it.
        BadArtefact: not HDF5, another kind or version, or a data set that is missing or of another type.
    """
    if not path.exists():
        remedy = f"; run {SCHEMAS[kind].made_by} first" if kind else ""
        raise MissingInput(f"{path}: there is no such file{remedy}")
    again = f"; run {SCHEMAS[kind].made_by} --force to make it again" if kind else "; make it again"
    with _open_checked(path, again) as (checked, file):
        try:
            artefact = Artefact(path, checked, file, _check(path, file, kind))
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise BadArtefact(f"{path}: its description is damaged ({_damage(checked, error)}){again}") from None
        yield artefact


@contextmanager
def _open_checked(path: Path, again: str) -> Iterator[tuple[CheckedFile, h5py.File]]:
    """The sealed file and HDF5's view of it; ``again`` ends the sentence of an error.

    Raises:
        BadArtefact: not a whole file of spp, or not HDF5.
    """
    try:
        checked = CheckedFile(path)
    except (BadArtefact, OSError) as error:
        raise BadArtefact(f"{path}: not a readable HDF5 file of spp ({_brief(error)}){again}") from None
    with checked:
        try:
            if checked.size <= WHOLE:
                checked.verify()
            file = h5py.File(checked, "r")
        except (OSError, RuntimeError) as error:
            raise BadArtefact(f"{path}: not a readable HDF5 file of spp ({_damage(checked, error)}){again}") from None
        with file:
            yield checked, file


def _remedy(schema: Schema) -> str:
    return f"run {schema.made_by} --force to make it again"


def _check(path: Path, file: h5py.File, kind: str | None) -> Schema:
    found = file.attrs.get("kind")
    if not isinstance(found, str) or found not in SCHEMAS:
        raise BadArtefact(f"{path}: an HDF5 file, but not one that spp made; name another")
    if kind is not None and found != kind:
        raise BadArtefact(f"{path}: holds {found}, where {kind} is expected; {kind} is made by {SCHEMAS[kind].made_by}")
    schema = SCHEMAS[found]
    version = str(file.attrs.get("schema_version", "unknown"))
    if version != str(schema.version):
        raise BadArtefact(
            f"{path}: {found} format {version}, this version of spp reads {schema.version}; "
            f"run {schema.made_by} --force to make it again"
        )
    for attribute in ("tool_version", "fingerprint", *_JSON_ATTRIBUTES):
        if attribute not in file.attrs:
            raise BadArtefact(f"{path}: the attribute {attribute} is missing; {_remedy(schema)}")
    for attribute in _JSON_ATTRIBUTES:
        try:
            damaged = not isinstance(json.loads(file.attrs[attribute]), dict)
        except (TypeError, ValueError):
            damaged = True
        if damaged:
            raise BadArtefact(f"{path}: the attribute {attribute} is damaged; {_remedy(schema)}")
    for item in schema.fields:
        _check_field(path, file, item, _remedy(schema))
    _check_lengths(path, file, schema)
    return schema


def _check_field(path: Path, file: h5py.File, item: Field, again: str) -> None:
    if not _is_own(file, item.name) or not isinstance(file[item.name], h5py.Dataset):
        raise BadArtefact(f"{path}: the data set {item.name} is missing; {again}")
    data = file[item.name]
    is_string = h5py.check_string_dtype(data.dtype) is not None
    if (item.dtype == "str") != is_string or (not is_string and data.dtype != np.dtype(item.dtype)):
        raise BadArtefact(f"{path}: {item.name} is {data.dtype}, expected {item.dtype}; {again}")
    if data.ndim != len(item.axes):
        raise BadArtefact(f"{path}: {item.name} has {data.ndim} axes, expected {', '.join(item.axes)}; {again}")


def _check_lengths(path: Path, file: h5py.File, schema: Schema) -> None:
    """Axes of one name are equally long in all data sets."""
    lengths: dict[str, tuple[int, str]] = {}
    for item in schema.fields:
        for axis, length in zip(item.axes, file[item.name].shape, strict=True):
            name, _, more = axis.partition(" + ")
            plain = length - int(more or 0)
            wanted, first = (int(name), "") if name.isdigit() else lengths.setdefault(name, (plain, item.name))
            if plain != wanted:
                where = f"as {first} has" if first else "as it should be"
                raise BadArtefact(
                    f"{path}: {item.name} has {plain} {name}, not {wanted} {where}; run {schema.made_by} --force to "
                    "make it again"
                )


def _is_own(file: h5py.File, name: str) -> bool:
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


def _own_data(file: h5py.File, name: str) -> h5py.Dataset:
    """A data set all of whose values are stored in the file itself."""
    if not _is_own(file, name):
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


@contextmanager
def described(artefact: Artefact) -> Iterator[None]:
    """Reading what a header says of its file; what is missing or of another form there is the file's fault.

    Raises:
        BadArtefact: names the file and the command that makes it.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise BadArtefact(
            f"{artefact.path}: its description is of another form ({error}); run {artefact.schema.made_by} --force"
        ) from None


class Writer:
    """A file being written; see `create`."""

    def __init__(self, target: WrittenFile, file: h5py.File) -> None:
        self._target = target
        self._file = file
        self._sums: dict[str, bytes] = {}

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
        self._target.check()

    def strings(self, name: str, values: Sequence[str]) -> None:
        self._file.create_dataset(name, data=list(values), dtype=h5py.string_dtype(), shape=(len(values),))
        self._target.check()

    def copy_from(self, part: Reader, source: str, target: str) -> None:
        """Copy a data set as it is stored, without decompressing it."""
        self._file.require_group(str(Path(target).parent))
        part.copy_to(self._file, source, target)
        self._target.check()

    def compare(self, path: Path) -> None:
        """Whether the finished file ``path`` holds the arrays that were given.

        Compressed ones are not unpacked again: none of their writes failed, and the seal was read from the file.

        Raises:
            OSError: an array is not what was written.
        """
        with _open_checked(path, "") as (checked, file):
            reader = Reader(path, checked, file)
            for name, expected in self._sums.items():
                if _sum_of(reader.array(name)) != expected:
                    raise OSError(errno.EIO, "what was written reads back otherwise", str(path))


def _extents(file: h5py.File) -> dict[str, list[tuple[int, int]]]:
    """Where in the file the values of each data set lie; those of strings lie among HDF5's own data."""
    found: dict[str, list[tuple[int, int]]] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            if item.chunks:
                chunks = (item.id.get_chunk_info(i) for i in range(item.id.get_num_chunks()))
                found[name] = [(chunk.byte_offset, chunk.size) for chunk in chunks]
            elif item.id.get_offset() is not None:
                found[name] = [(item.id.get_offset(), item.id.get_storage_size())]

    file.visititems(add)
    return found


def _sum_of(data: Array) -> bytes:
    return xxhash.xxh3_64_digest(np.ascontiguousarray(data).data if data.size else b"")


@contextmanager
def _sealed(temporary: Path) -> Iterator[Writer]:
    """A new HDF5 file, sealed and compared with what was given when the block ends well.

    Raises:
        OSError: it could not be written.
    """
    with WrittenFile(temporary) as target:
        with h5py.File(target, "w", libver=("earliest", "v112")) as file:
            writer = Writer(target, file)
            yield writer
            file.flush()
            target.check()
            extents = _extents(file)
        target.check()
    target.check()
    seal(temporary, extents)
    writer.compare(temporary)


@contextmanager
def create(path: Path, header: Header) -> Iterator[Writer]:
    """Write a whole file: complete under its final name, or not there at all."""
    with replacing(path) as temporary, _sealed(temporary) as writer:
        schema = SCHEMAS[header.kind]
        file = writer._file
        file.attrs["kind"] = header.kind
        file.attrs["schema_version"] = schema.version
        file.attrs["tool_version"] = __version__
        file.attrs["fingerprint"] = header.fingerprint
        for name in _JSON_ATTRIBUTES:
            file.attrs[name] = canonical_json(getattr(header, name))
        yield writer
        for item in schema.fields:
            _check_field(path, file, item, _remedy(schema))


class Parts:
    """Per-image results of an unfinished run, beside the file they will become.

    ``key`` says which options they belong to; parts of other options are thrown away, as all are with ``discard``.
    """

    def __init__(self, target: Path, key: str, discard: bool = False) -> None:
        ensure_folder(target)
        self._target = target
        self.folder = target.with_name(target.name + ".parts")
        marker = self.folder / "key"
        if self.folder.exists() and (discard or not marker.exists() or marker.read_text() != key):
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        marker.write_text(key)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.h5"

    def has(self, name: str) -> bool:
        """Whether the part is there and whole; a damaged one is removed, to be made again."""
        path = self.path(name)
        try:
            with CheckedFile(path) as part:
                part.verify()
        except FileNotFoundError:
            return False
        except (BadArtefact, OSError):
            path.unlink()
            return False
        return True

    def names(self) -> list[str]:
        """Every whole part that is there, in order of name."""
        return sorted(path.stem for path in self.folder.glob("*.h5") if self.has(path.stem))

    @contextmanager
    def create(self, name: str) -> Iterator[Writer]:
        temporary = self.folder / f".{name}.tmp"
        with naming(self._target, temporary):
            with _sealed(temporary) as writer:
                yield writer
            commit(temporary, self.path(name))

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        path = self.path(name)
        with _open_checked(path, "; run the command again, which makes it anew") as (checked, file):
            yield Reader(path, checked, file)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _damage(checked: CheckedFile, error: Exception) -> str:
    """What is wrong with the file: bytes that are not those written, or what the library says."""
    return f"{checked.failed} are not what was written" if checked.failed else _brief(error)


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0].split(" (")[0] if str(error) else type(error).__name__
