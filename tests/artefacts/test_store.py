"""Artefact files: what is written is read back, what is no such file is named, and a file is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from sppcli import __version__
from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.store import (
    canonical_json,
    create,
    digest_of,
    open_artefact,
)
from tests.artefacts.written import fill, header, names_in, values_of, write

# --- round trips ---


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("kind", SCHEMAS)
def test_round_trip(tmp_path: Path, kind: str, empty: bool):
    path = tmp_path / f"{kind}.h5"
    made = write(path, kind, empty)
    assert names_in(tmp_path) == [path.name]
    with open_artefact(path, kind) as artefact:
        assert artefact.header == made
        assert artefact.fingerprint == made.fingerprint
        assert artefact.tool_version == __version__
        assert artefact.schema is SCHEMAS[kind]
        assert sorted(artefact.names()) == sorted(item.name for item in SCHEMAS[kind].fields)
        for item in SCHEMAS[kind].fields:
            expected = values_of(item, empty)
            assert item.name in artefact
            if isinstance(expected, list):
                assert artefact.strings(item.name) == tuple(expected)
            else:
                found = artefact.array(item.name)
                assert found.dtype == np.dtype(item.dtype)
                np.testing.assert_array_equal(found, expected)
                assert artefact.shape(item.name) == expected.shape
        assert "nothing of that name" not in artefact


def test_opened_without_a_kind(tmp_path: Path):
    write(tmp_path / "a.h5", "bbox")
    with open_artefact(tmp_path / "a.h5") as artefact:
        assert artefact.schema.kind == "bbox"


def test_compressed_arrays(tmp_path: Path):
    smooth = np.repeat(np.arange(64, dtype=np.float16), 400).reshape(10, 40, 64)
    with create(tmp_path / "f.h5", header("features")) as writer:
        fill(writer, "features")
        writer.array("maps/480/000000", smooth, compress=True)
        writer.array("maps/480/000001", smooth)
        writer.array("maps/480/000002", smooth[:0], compress=True)
    with open_artefact(tmp_path / "f.h5", "features") as artefact:
        for name in ("maps/480/000000", "maps/480/000001"):
            found = artefact.array(name)
            assert found.dtype == np.float16
            np.testing.assert_array_equal(found, smooth)
        assert artefact.array("maps/480/000002").shape == (0, 40, 64)
        assert artefact.stored_bytes() < 1.5 * smooth.nbytes  # one of the two is stored in far less


def test_a_file_takes_the_place_of_another(tmp_path: Path):
    write(tmp_path / "a.h5", config={"c": 1})
    made = write(tmp_path / "a.h5", config={"c": 2})
    with open_artefact(tmp_path / "a.h5") as artefact:
        assert artefact.header == made


# --- fingerprints ---


def test_fingerprint_is_of_what_decides_the_content():
    base = header().fingerprint
    assert header(source={"root": "elsewhere"}, summary={}).fingerprint == base
    others = [
        header("bbox").fingerprint,
        header(config={"layer": "fc6"}).fingerprint,
        header(inputs={"features": "cd" * 32}).fingerprint,
        header(inputs={}).fingerprint,
    ]
    assert len({base, *others}) == 5


def test_fingerprint_does_not_depend_on_the_order_of_options():
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of({"a": [1, 2]}) != digest_of({"a": [2, 1]})
    assert canonical_json({"b": "ż", "a": 1.5}) == '{"a":1.5,"b":"ż"}'


def test_headers_are_plain_json(tmp_path: Path):
    """Other programs can read what made a file."""
    write(tmp_path / "svm.h5")
    with h5py.File(tmp_path / "svm.h5") as file:
        assert json.loads(file.attrs["config"]) == header().config
        assert json.loads(file.attrs["source"]) == {"root": "/data/żółw"}
        assert file.attrs["kind"] == "svm"
        assert file["classes"].asstr()[0] == "classes 0 żółw 亀"
