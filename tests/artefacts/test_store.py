"""Artefact files: what is written is read back, what is no such file is named, and a file is whole or not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from sppcli import __version__
from sppcli.artefacts.schema import SCHEMAS, Field
from sppcli.artefacts.store import (
    Header,
    Parts,
    Writer,
    canonical_json,
    create,
    digest_of,
    is_current,
    open_artefact,
    touch_if_older,
)
from sppcli.errors import BadArtefact, MissingInput

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
        "summary": {"classes": 4},
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


def test_is_current(tmp_path: Path):
    path = tmp_path / "svm.h5"
    made = header()
    assert not is_current(path, "svm", made.fingerprint)
    write(path)
    assert is_current(path, "svm", made.fingerprint)
    assert not is_current(path, "svm", header(config={}).fingerprint)
    assert not is_current(path, "bbox", made.fingerprint)
    path.write_bytes(b"no HDF5")
    assert not is_current(path, "svm", made.fingerprint)


def test_touch_if_older(tmp_path: Path):
    path, older, newer = (tmp_path / name for name in ("out", "older", "newer"))
    for file, time in ((path, 2000), (older, 1000), (newer, 3000)):
        file.write_text("x")
        os.utime(file, (time, time))
    touch_if_older(path, [])
    touch_if_older(path, [older, tmp_path / "gone"])
    assert path.stat().st_mtime == 2000
    touch_if_older(path, [older, newer])
    assert path.stat().st_mtime > 3000
    assert path.read_text() == "x"


# --- files that are not what they should be ---


def damaged(tmp_path: Path, change: Callable[[h5py.File], None]) -> Path:
    path = tmp_path / "svm.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def refusal(path: Path, kind: str | None = "svm") -> str:
    with pytest.raises(BadArtefact) as caught, open_artefact(path, kind):
        pass
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_a_missing_file_names_the_command(tmp_path: Path):
    with (
        pytest.raises(MissingInput, match=r"svm.h5: there is no such file; run spp train-svm first"),
        open_artefact(tmp_path / "svm.h5", "svm"),
    ):
        pass
    with pytest.raises(MissingInput, match=r"there is no such file$"), open_artefact(tmp_path / "svm.h5"):
        pass


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 500])
def test_not_hdf5(tmp_path: Path, content: bytes):
    (tmp_path / "svm.h5").write_bytes(content)
    assert "not a readable HDF5 file" in refusal(tmp_path / "svm.h5")


def test_a_folder(tmp_path: Path):
    assert "not a readable HDF5 file" in refusal(tmp_path)


def test_a_truncated_file(tmp_path: Path):
    path = tmp_path / "svm.h5"
    write(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "not a readable HDF5 file" in refusal(path)


def test_hdf5_of_another_program(tmp_path: Path):
    with h5py.File(tmp_path / "svm.h5", "w") as file:
        file["weights"] = np.zeros(3)
    assert "an HDF5 file, but not one that spp made" in refusal(tmp_path / "svm.h5")


@pytest.mark.parametrize("kind", ["no such kind", np.arange(3), 4])
def test_an_unknown_kind(tmp_path: Path, kind: object):
    path = damaged(tmp_path, lambda file: file.attrs.__setitem__("kind", kind))
    assert "not one that spp made" in refusal(path)


def test_another_kind(tmp_path: Path):
    write(tmp_path / "bbox.h5", "bbox")
    text = refusal(tmp_path / "bbox.h5", "svm")
    assert text.endswith("holds bbox, where svm is expected; svm is made by spp train-svm")


@pytest.mark.parametrize("version", [SCHEMAS["svm"].version + 1, "one", None])
def test_another_version(tmp_path: Path, version: object):
    def change(file: h5py.File) -> None:
        del file.attrs["schema_version"]
        if version is not None:
            file.attrs["schema_version"] = version

    text = refusal(damaged(tmp_path, change))
    shown = "unknown" if version is None else version
    assert f"svm format {shown}, this version of spp reads {SCHEMAS['svm'].version}" in text
    assert "run spp train-svm --force" in text


@pytest.mark.parametrize("name", ["tool_version", "fingerprint", "config", "inputs", "source", "summary"])
def test_a_missing_attribute(tmp_path: Path, name: str):
    path = damaged(tmp_path, lambda file: file.attrs.__delitem__(name))
    assert f"the attribute {name} is missing" in refusal(path)


@pytest.mark.parametrize("value", ["{half", "[]", np.arange(3), 7])
@pytest.mark.parametrize("name", ["config", "inputs", "source", "summary"])
def test_a_damaged_attribute(tmp_path: Path, name: str, value: object):
    path = damaged(tmp_path, lambda file: file.attrs.__setitem__(name, value))
    assert f"the attribute {name} is damaged" in refusal(path)


def test_a_missing_data_set(tmp_path: Path):
    assert "the data set weights is missing" in refusal(damaged(tmp_path, lambda file: file.__delitem__("weights")))


def replaced(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", np.zeros((4, 5)), "weights is float64, expected float32"),
        ("weights", np.zeros((4, 5), np.int64), "weights is int64, expected float32"),
        ("weights", ["a", "b"], "weights is object, expected float32"),
        ("classes", np.zeros(4), "classes is float64, expected str"),
        ("weights", np.zeros(4, np.float32), "weights has 1 axes, expected classes, features"),
        ("biases", np.zeros((4, 1), np.float32), "biases has 2 axes, expected classes"),
    ],
)
def test_a_data_set_of_another_form(tmp_path: Path, name: str, value: object, message: str):
    assert message in refusal(damaged(tmp_path, replaced(name, value)))


def test_a_group_where_a_data_set_is_expected(tmp_path: Path):
    def change(file: h5py.File) -> None:
        del file["weights"]
        file.create_group("weights")

    assert "the data set weights is missing" in refusal(damaged(tmp_path, change))


def test_damage_inside_a_compressed_data_set(tmp_path: Path):
    """It shows only when the numbers are read; the file is named all the same."""
    path = tmp_path / "features.h5"
    noise = np.random.default_rng(0).random((40, 40, 8)).astype(np.float16)
    with create(path, header("features")) as writer:
        fill(writer, "features")
        writer.array("maps/480/000000", noise, compress=True)
    with h5py.File(path, "r") as file:
        where = file["maps/480/000000"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[where.byte_offset + 12 : where.byte_offset + where.size] = bytes(where.size - 12)
    path.write_bytes(data)
    with open_artefact(path, "features") as artefact, pytest.raises(BadArtefact) as caught:
        artefact.array("maps/480/000000")
    assert str(caught.value).startswith(f"{path}: maps/480/000000 is damaged")


# --- whole or not there ---


class Interrupted(BaseException):
    """Not an Exception, as KeyboardInterrupt is not."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
def test_nothing_is_left_of_an_interrupted_file(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error, match="stop"):
        stop(tmp_path / "svm.h5", error, header())
    assert names_in(tmp_path) == []


def test_an_interrupted_file_leaves_the_one_before(tmp_path: Path):
    write(tmp_path / "svm.h5")
    before = (tmp_path / "svm.h5").read_bytes()
    with pytest.raises(ValueError, match="stop"):
        stop(tmp_path / "svm.h5", ValueError, header(config={}))
    assert names_in(tmp_path) == ["svm.h5"]
    assert (tmp_path / "svm.h5").read_bytes() == before


def test_a_file_that_lacks_a_data_set_is_not_made(tmp_path: Path):
    with (
        pytest.raises(BadArtefact, match="the data set biases is missing"),
        create(tmp_path / "svm.h5", header()) as writer,
    ):
        fill(writer, "svm", without="biases")
    assert names_in(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path: Path):
    with (
        pytest.raises(MissingInput, match=r"svm.h5: the folder .*gone does not exist"),
        create(tmp_path / "gone" / "svm.h5", header()),
    ):
        pass
    with pytest.raises(MissingInput, match=r"the folder .*gone does not exist"):
        Parts(tmp_path / "gone" / "svm.h5", "key")


SCRIPT = """
import os, signal, sys
from pathlib import Path
from sppcli.artefacts.store import Parts, create
from tests.artefacts.test_store import fill, header

def die():
    os.kill(os.getpid(), signal.SIGKILL)

target = Path(sys.argv[1])
"""


def run_killed(path: Path, code: str) -> None:
    """Run ``code`` in a process of its own; it kills itself as the kernel would, with no chance to tidy up."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(code), str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_process_leaves_no_file(tmp_path: Path):
    """Killed with all data sets written, before the file is closed."""
    path = tmp_path / "svm.h5"
    run_killed(
        path,
        """
        with create(target, header()) as writer:
            fill(writer, "svm")
            writer._file.flush()
            die()
        """,
    )
    assert not path.exists()
    assert all(name.startswith(".") and name.endswith(".tmp") for name in names_in(tmp_path))
    write(path)  # and the next run is not in its way
    with open_artefact(path, "svm"):
        pass


def test_a_killed_process_leaves_the_file_before(tmp_path: Path):
    path = tmp_path / "svm.h5"
    write(path)
    before = path.read_bytes()
    run_killed(
        path,
        """
        import sppcli.artefacts.store as store
        store.os.fsync = lambda descriptor: die()  # the file is complete, and not yet under its name
        with create(target, header(config={})) as writer:
            fill(writer, "svm")
        """,
    )
    assert path.read_bytes() == before


# --- parts ---


def stop_part(parts: Parts, name: str) -> None:
    with parts.create(name) as writer:
        writer.array("map", np.zeros(3))
        raise ValueError("stop")


def make_part(parts: Parts, name: str, value: float) -> None:
    with parts.create(name) as writer:
        writer.array("map", np.full((4, 5), value, dtype=np.float16), compress=True)


def test_parts_are_kept_for_the_next_run(tmp_path: Path):
    target = tmp_path / "features.h5"
    parts = Parts(target, "options")
    assert not parts.has("000000")
    make_part(parts, "000000", 1)
    with pytest.raises(ValueError, match="stop"):
        stop_part(parts, "000001")
    again = Parts(target, "options")
    assert again.has("000000")
    assert not again.has("000001")
    with again.open("000000") as part:
        assert part.array("map").tolist() == [[1.0] * 5] * 4
    assert not list(again.folder.glob(".*"))  # half a part is swept away
    assert not target.exists()
    again.discard()
    assert names_in(tmp_path) == []


def test_parts_of_other_options_are_thrown_away(tmp_path: Path):
    target = tmp_path / "features.h5"
    make_part(Parts(target, "options"), "000000", 1)
    assert not Parts(target, "other options").has("000000")
    assert not Parts(target, "options").has("000000")  # and are not found again


def test_parts_are_thrown_away_when_asked(tmp_path: Path):
    target = tmp_path / "features.h5"
    make_part(Parts(target, "options"), "000000", 1)
    assert not Parts(target, "options", discard=True).has("000000")


def test_parts_without_their_key_are_thrown_away(tmp_path: Path):
    target = tmp_path / "features.h5"
    parts = Parts(target, "options")
    make_part(parts, "000000", 1)
    (parts.folder / "key").unlink()
    assert not Parts(target, "options").has("000000")


def test_parts_become_the_whole(tmp_path: Path):
    target = tmp_path / "features.h5"
    parts = Parts(target, "options")
    for index in range(3):
        make_part(parts, f"{index:06d}", index)
    with create(target, header("features")) as writer:
        fill(writer, "features")
        for index in range(3):
            with parts.open(f"{index:06d}") as part:
                writer.copy_from(part, "map", f"maps/480/{index:06d}")
    parts.discard()
    assert names_in(tmp_path) == ["features.h5"]
    with open_artefact(target, "features") as artefact:
        for index in range(3):
            found = artefact.array(f"maps/480/{index:06d}")
            assert found.dtype == np.float16
            assert (found == index).all()


def test_a_process_killed_between_and_within_parts(tmp_path: Path):
    target = tmp_path / "features.h5"
    run_killed(
        target,
        """
        import numpy as np
        parts = Parts(target, "options")
        for index in range(4):
            with parts.create(f"{index:06d}") as writer:
                writer.array("map", np.full((4, 5), index, dtype=np.float16), compress=True)
                if index == 2:
                    writer._file.flush()
                    die()
        """,
    )
    parts = Parts(target, "options")
    assert [parts.has(f"{index:06d}") for index in range(4)] == [True, True, False, False]
    for index in range(2):
        with parts.open(f"{index:06d}") as part:
            assert (part.array("map") == index).all()
    assert names_in(parts.folder) == ["000000.h5", "000001.h5", "key"]
    assert not target.exists()


def test_headers_are_plain_json(tmp_path: Path):
    """Other programs can read what made a file."""
    write(tmp_path / "svm.h5")
    with h5py.File(tmp_path / "svm.h5") as file:
        assert json.loads(file.attrs["config"]) == header().config
        assert json.loads(file.attrs["source"]) == {"root": "/data/żółw"}
        assert file.attrs["kind"] == "svm"
        assert file["classes"].asstr()[0] == "classes 0 żółw 亀"


def test_a_description_of_another_form_names_the_file_and_the_command(tmp_path):
    from sppcli.artefacts.features import open_features
    from sppcli.artefacts.store import Header, create
    from sppcli.errors import BadArtefact

    path = tmp_path / "features.h5"
    header = Header("features", {"scales": [480], "network": {"backbone": "old", "pyramid": []}}, {})
    with create(path, header) as writer:
        for name in ("image_ids", "paths", "digests", "skipped_names", "skipped_reasons"):
            writer.strings(name, [])
        writer.array("sizes", np.zeros((0, 2), np.int64))
    with pytest.raises(BadArtefact, match=r"features\.h5.*spp extract --force"), open_features(path):
        pass
