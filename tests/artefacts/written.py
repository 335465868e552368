"""Artefact files that tests write: something for every data set of a schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sppcli.artefacts.schema import SCHEMAS, Field
from sppcli.artefacts.store import Header, create
from sppcli.artefacts.writing import Writer

SIZES = {"images": 3, "windows": 7, "skipped": 2, "classes": 4, "features": 5, "detections": 6}


def size_of(axis: str, empty: bool = False) -> int:
    """Length of an axis as the schema writes it: '4', 'images' or 'images + 1'."""
    name, _, more = axis.partition(" + ")
    length = int(name) if name.isdigit() else 0 if empty else SIZES.get(name, 2)
    return length + int(more or 0)


def values_of(item: Field, empty: bool = False) -> np.ndarray | list[str]:
    """Something for a data set of the schema, different for each."""
    shape = tuple(size_of(axis, empty) for axis in item.axes)
    if item.dtype == "str":
        return [f"{item.name} {i} żółw 亀" for i in range(shape[0])]
    rng = np.random.default_rng(len(item.name))
    return (rng.random(shape) * 100).astype(item.dtype)


def header(kind: str = "svm", **changes: object) -> Header:
    values = {
        "config": {"layer": "pool5", "c": 0.001, "pyramid": [6, 3]},
        "inputs": {"features": "ab" * 32},
        "source": {"root": "/data/żółw"},
        "summary": {"images": 4},
    }
    return Header(kind, **{**values, **changes})


def fill(writer: Writer, kind: str, empty: bool = False, without: str | None = None) -> None:
    for item in SCHEMAS[kind].fields:
        if item.name == without:
            continue
        values = values_of(item, empty)
        if isinstance(values, list):
            writer.strings(item.name, values)
        else:
            writer.array(item.name, values)


def write(path: Path, kind: str = "svm", empty: bool = False, **changes: object) -> Header:
    made = header(kind, **changes)
    with create(path, made) as writer:
        fill(writer, kind, empty)
    return made


def stop(path: Path, error: type[BaseException], made: Header) -> None:
    """Begin to write a file, and meet ``error`` when all but its closing is done."""
    with create(path, made) as writer:
        fill(writer, made.kind)
        raise error("stop")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
