"""Open, check, commit and resume the HDF5 files of `schema`. The only module that touches h5py.

A file under its final name is complete: it is written under a temporary name in the same folder, synced and
renamed. A long stage commits a part per image into ``NAME.parts/`` first; killed at any instant, its next run
takes the parts it finds and goes on.
"""

from __future__ import annotations

import hashlib
import json
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

from sppcli import __version__
from sppcli.artefacts.schema import SCHEMAS, Field, Schema
from sppcli.errors import BadArtefact, MissingInput
from sppcli.runtime.files import commit, ensure_folder, replacing

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
    """Data sets of an open file, by name."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def __contains__(self, name: str) -> bool:
        return name in self._file

    def array(self, name: str) -> Array:
        """A whole data set.

        Raises:
            BadArtefact: its bytes cannot be decoded.
        """
        try:
            return np.asarray(self._file[name][()])
        except OSError as error:
            raise BadArtefact(
                f"{self._file.filename}: {name} is damaged ({_brief(error)}); make the file again"
            ) from None

    def strings(self, name: str) -> tuple[str, ...]:
        return tuple(str(text) for text in self._file[name].asstr()[()])

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file[name].shape)

    def names(self) -> list[str]:
        """Every data set's full name."""
        found: list[str] = []
        self._file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        return found

    def stored_bytes(self) -> int:
        """Bytes that the data sets take on disk, compressed."""
        return sum(int(self._file[name].id.get_storage_size()) for name in self.names())


class Artefact(Reader):
    """An open file of a known kind: its data sets and what made them."""

    def __init__(self, path: Path, file: h5py.File, schema: Schema) -> None:
        super().__init__(file)
        self.path = path
        self.schema = schema
        self.tool_version = str(file.attrs["tool_version"])
        self.fingerprint = str(file.attrs["fingerprint"])
        self.header = Header(
            schema.kind,
            *(json.loads(file.attrs[name]) for name in _JSON_ATTRIBUTES),
        )


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
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BadArtefact(f"{path}: not a readable HDF5 file ({_brief(error)}); make it again") from None
    with file:
        yield Artefact(path, file, _check(path, file, kind))


def _check(path: Path, file: h5py.File, kind: str | None) -> Schema:
    found = file.attrs.get("kind")
    if not isinstance(found, str) or found not in SCHEMAS:
        raise BadArtefact(f"{path}: an HDF5 file, but not one that spp made")
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
            raise BadArtefact(f"{path}: the attribute {attribute} is missing; make the file again")
    for attribute in _JSON_ATTRIBUTES:
        try:
            damaged = not isinstance(json.loads(file.attrs[attribute]), dict)
        except (TypeError, ValueError):
            damaged = True
        if damaged:
            raise BadArtefact(f"{path}: the attribute {attribute} is damaged; make the file again")
    for item in schema.fields:
        _check_field(path, file, item)
    return schema


def _check_field(path: Path, file: h5py.File, item: Field) -> None:
    if not isinstance(file.get(item.name), h5py.Dataset):
        raise BadArtefact(f"{path}: the data set {item.name} is missing; make the file again")
    data = file[item.name]
    is_string = h5py.check_string_dtype(data.dtype) is not None
    if (item.dtype == "str") != is_string or (not is_string and data.dtype != np.dtype(item.dtype)):
        raise BadArtefact(f"{path}: {item.name} is {data.dtype}, expected {item.dtype}; make the file again")
    if data.ndim != len(item.axes):
        raise BadArtefact(f"{path}: {item.name} has {data.ndim} axes, expected {', '.join(item.axes)}")


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

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def array(self, name: str, values: npt.ArrayLike, compress: bool = False) -> None:
        """Store an array; compressed means one chunk, Zstandard after bit-shuffling."""
        data = np.asarray(values)
        if compress and data.size:
            options: dict[str, Any] = dict(hdf5plugin.Bitshuffle(cname="zstd", clevel=3))
            self._file.create_dataset(name, data=data, chunks=data.shape, **options)
        else:
            self._file.create_dataset(name, data=data)

    def strings(self, name: str, values: Sequence[str]) -> None:
        self._file.create_dataset(name, data=list(values), dtype=h5py.string_dtype(), shape=(len(values),))

    def copy_from(self, part: Reader, source: str, target: str) -> None:
        """Copy a data set as it is stored, without decompressing it."""
        self._file.require_group(str(Path(target).parent))
        part._file.copy(source, self._file, name=target)


@contextmanager
def create(path: Path, header: Header) -> Iterator[Writer]:
    """Write a whole file: complete under its final name, or not there at all."""
    with replacing(path) as temporary, h5py.File(temporary, "w", libver=("earliest", "v112")) as file:
        schema = SCHEMAS[header.kind]
        file.attrs["kind"] = header.kind
        file.attrs["schema_version"] = schema.version
        file.attrs["tool_version"] = __version__
        file.attrs["fingerprint"] = header.fingerprint
        for name in _JSON_ATTRIBUTES:
            file.attrs[name] = canonical_json(getattr(header, name))
        yield Writer(file)
        for item in schema.fields:
            _check_field(path, file, item)


class Parts:
    """Per-image results of an unfinished run, beside the file they will become.

    ``key`` says which options they belong to; parts of other options are thrown away, as all are with ``discard``.
    """

    def __init__(self, target: Path, key: str, discard: bool = False) -> None:
        ensure_folder(target)
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
        return self.path(name).exists()

    def names(self) -> list[str]:
        """Every part that is there, in order of name."""
        return sorted(path.stem for path in self.folder.glob("*.h5"))

    @contextmanager
    def create(self, name: str) -> Iterator[Writer]:
        temporary = self.folder / f".{name}.tmp"
        with h5py.File(temporary, "w", libver=("earliest", "v112")) as file:
            yield Writer(file)
        commit(temporary, self.path(name))

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        with h5py.File(self.path(name), "r") as file:
            yield Reader(file)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0].split(" (")[0] if str(error) else type(error).__name__
