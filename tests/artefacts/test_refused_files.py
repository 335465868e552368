"""Files that are not what they should be: each is named, with what is wrong and what makes it anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.store import (
    Header,
    create,
    open_artefact,
)
from sppcli.errors import BadArtefact, MissingInput
from sppcli.runtime.checksums import seal
from tests.artefacts.written import fill, header, write


def damaged(tmp_path: Path, change: Callable[[h5py.File], None]) -> Path:
    path = tmp_path / "svm.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path)  # as if another program, or an older version, had written it so
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
    seal(tmp_path / "svm.h5")
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
    seal(path)  # damaged before it was sealed: only the decoder can tell
    with open_artefact(path, "features") as artefact, pytest.raises(BadArtefact) as caught:
        artefact.array("maps/480/000000")
    assert str(caught.value).startswith(f"{path}: maps/480/000000 is damaged")


def test_a_description_of_another_form_names_the_file_and_the_command(tmp_path):
    from sppcli.artefacts.features import open_features
    from sppcli.artefacts.store import create
    from sppcli.errors import BadArtefact

    path = tmp_path / "features.h5"
    header = Header("features", {"scales": [480], "network": {"backbone": "old", "pyramid": []}}, {})
    with create(path, header) as writer:
        for name in ("image_ids", "paths", "digests", "skipped_names", "skipped_reasons"):
            writer.strings(name, [])
        writer.array("sizes", np.zeros((0, 2), np.int64))
    with pytest.raises(BadArtefact, match=r"features\.h5.*spp extract --force"), open_features(path):
        pass


def one_map_damaged(tmp_path: Path) -> tuple[Path, npt.NDArray[np.float16]]:
    """features.h5 with three equal maps, one bit of the second flipped; and the map."""
    path = tmp_path / "features.h5"
    noise = np.random.default_rng(0).random((40, 40, 8)).astype(np.float16)
    with create(path, header("features")) as writer:
        fill(writer, "features")
        for index in range(3):
            writer.array(f"maps/480/{index:06d}", noise, compress=True)
    with h5py.File(path, "r") as file:
        where = file["maps/480/000001"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[where.byte_offset + where.size // 2] ^= 4
    path.write_bytes(data)
    return path, noise


def test_a_flipped_bit_names_the_data_set_and_the_remedy(tmp_path: Path) -> None:
    path, _noise = one_map_damaged(tmp_path)
    text = refusal(path, "features")
    assert "(maps/480/000001) are not what was written" in text
    assert text.endswith("run spp extract --force to make it again")


def test_of_a_large_file_only_what_is_read_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sppcli.artefacts.reading.WHOLE", 0)
    path, noise = one_map_damaged(tmp_path)
    with open_artefact(path, "features") as artefact:
        np.testing.assert_array_equal(artefact.array("maps/480/000002"), noise)
        with pytest.raises(BadArtefact, match="maps/480/000001 is damaged"):
            artefact.array("maps/480/000001")
        with pytest.raises(BadArtefact, match="the file is damaged"):
            artefact.verify()


def test_values_in_another_file_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(bytes(80))

    def change(file: h5py.File) -> None:
        del file["biases"]
        file.create_dataset("biases", shape=(4,), dtype="f4", external=[(str(outside), 0, 16)])

    path = damaged(tmp_path, change)
    with open_artefact(path, "svm") as artefact, pytest.raises(BadArtefact, match="its values lie in another file"):
        artefact.array("biases")
