"""Open, check and commit the HDF5 files of `schema`: what each says of itself, and whether it is what it should be.

A file under its final name is complete: it is written under a temporary name in the same folder, synced and
renamed. A long stage commits a part per image first; see `parts`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sppcli import __version__
from sppcli.artefacts.descriptions import fault
from sppcli.artefacts.linking import Linking
from sppcli.artefacts.reading import damage, is_own, open_checked
from sppcli.artefacts.schema import SCHEMAS, Field, Schema
from sppcli.artefacts.writing import Writer, sealed
from sppcli.errors import BadArtefact, MissingInput
from sppcli.runtime.checksums import CheckedFile
from sppcli.runtime.files import replacing
from sppcli.runtime.urls import from_record, to_record

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


class Artefact(Linking):
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
        from_record(self.header.source)
        if self.header.fingerprint != self.fingerprint:
            raise BadArtefact(
                f"{path}: its description is not the one of its fingerprint; run {schema.made_by} --force to make it "
                "again"
            )
        if wrong := fault(schema.kind, *(getattr(self.header, name) for name in _JSON_ATTRIBUTES)):
            raise BadArtefact(f"{path}: in its description {wrong}; {_remedy(schema)}")

    def _described(self, value: Json) -> Json:
        return _Described(value, f"{self.path}: its description has no {{}}; run {self.schema.made_by} --force")


@contextmanager
def open_artefact(path: Path, kind: str | None = None, lazily: bool = False) -> Iterator[Artefact]:
    """Open a file for reading and check that it is what it should be; for ``lazily`` see `open_checked`.

    Raises:
        MissingInput: not there; says which command makes it.
        BadArtefact: not HDF5, another kind or version, or a data set that is missing or of another type.
    """
    if not path.exists():
        remedy = f"; run {SCHEMAS[kind].made_by} first" if kind else ""
        raise MissingInput(f"{path}: there is no such file{remedy}")
    again = f"; run {SCHEMAS[kind].made_by} --force to make it again" if kind else "; make it again"
    with open_checked(path, again, lazily) as (checked, file):
        try:
            artefact = Artefact(path, checked, file, _check(path, file, kind))
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise BadArtefact(f"{path}: its description is damaged ({damage(checked, error)}){again}") from None
        with artefact:
            yield artefact


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
    if not is_own(file, item.name) or not isinstance(file[item.name], h5py.Dataset):
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


@contextmanager
def create(path: Path, header: Header, kept: Path | None = None) -> Iterator[Writer]:
    """Write a whole file: complete under its final name, or not there at all.

    ``kept``: see `replacing`; `Parts.whole`, where parts are moved into it.
    """
    with replacing(path, kept) as temporary, sealed(temporary) as writer:
        schema = SCHEMAS[header.kind]
        file = writer._file
        file.attrs["kind"] = header.kind
        file.attrs["schema_version"] = schema.version
        file.attrs["tool_version"] = __version__
        file.attrs["fingerprint"] = header.fingerprint
        for name in _JSON_ATTRIBUTES:
            value = getattr(header, name)
            file.attrs[name] = canonical_json(to_record(value) if name == "source" else value)
        yield writer
        for item in schema.fields:
            _check_field(path, file, item, _remedy(schema))
