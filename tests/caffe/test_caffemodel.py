"""Caffe's binary files, written by the protobuf package in every form that Caffe has had."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sppcli.caffe.caffemodel import read_caffemodel, read_mean
from sppcli.errors import BadInput, MissingInput
from tests.caffe.proto import blob, caffemodel, message

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def arrays(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 1, shape).astype(np.float32)  # noqa: E731
    return {
        "conv1": ("Convolution", [draw(4, 3, 5, 5), draw(4)]),
        "conv2": ("Convolution", [draw(6, 2, 3, 3)]),
        "fc6": ("InnerProduct", [draw(7, 24), draw(7)]),
        "relu1": ("ReLU", []),
    }


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("form", ["new", "v1", "v0"])
def test_every_form(tmp_path: Path, form: str, double: bool) -> None:
    layers = arrays(1)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(layers, form, double))
    found = read_caffemodel(path)
    assert list(found) == ["conv1", "conv2", "fc6"]  # the ReLU has no arrays
    for name, blobs in found.items():
        for got, written in zip(blobs, layers[name][1], strict=True):
            assert got.values.dtype == (np.float64 if double else np.float32)
            assert np.array_equal(got.values, written.ravel())
            assert got.shape == (written.shape if form == "new" else (1,) * (4 - written.ndim) + written.shape)


def test_numbers_that_are_not_packed(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(0, 1, (2, 5)).astype(np.float32)
    loose = message("LooseBlobProto", num=1, data=values.ravel().tolist(), shape=message("LooseShape", dim=[2, 5]))
    body = loose.SerializeToString()
    assert len(body) > values.size * 5  # a key a number
    raw = b"\x0a\x02fc" + bytes([7 << 3 | 2, len(body)]) + body
    (tmp_path / "net.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(raw)]) + raw)
    (got,) = read_caffemodel(tmp_path / "net.caffemodel")["fc"]
    assert got.shape == (2, 5)
    assert np.array_equal(got.values.reshape(2, 5), values)


@in_one_folder
@given(st.data())
def test_a_truncated_file(tmp_path: Path, data: st.DataObject) -> None:
    whole = caffemodel(arrays(3))
    path = tmp_path / "net.caffemodel"
    length = data.draw(st.integers(1, len(whole) - 1))
    path.write_bytes(whole[:length])
    found: dict = {}
    # Nothing is raised where it ends exactly between two layers.
    with suppress(BadInput):
        found = read_caffemodel(path)
    assert list(found) == ["conv1", "conv2", "fc6"][: len(found)]
    for name, blobs in found.items():
        for got, written in zip(blobs, arrays(3)[name][1], strict=True):
            assert np.array_equal(got.values, written.ravel())


def test_a_truncated_array_says_how_much_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel({"fc": ("InnerProduct", [np.zeros((50, 100), np.float32)])})[:-10_000])
    with pytest.raises(BadInput, match=r"only a part of one \(its last field lacks 10,000 bytes\); fetch it again"):
        read_caffemodel(path)


@pytest.mark.parametrize(
    "data",
    [b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1", b"\0" * 64, b"\x80" * 64, b"\n\3net"],
)
def test_other_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"net.caffemodel: (not a .caffemodel file|holds no layer with weights)"):
        read_caffemodel(path)


@in_one_folder
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with suppress(BadInput):  # and no other error
        read_caffemodel(path)


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    with pytest.raises(MissingInput, match=r"net.caffemodel: there is no such .caffemodel file"):
        read_caffemodel(path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="the file is empty"):
        read_caffemodel(path)
    with pytest.raises(BadInput, match=r"not a readable .caffemodel file"):
        read_caffemodel(tmp_path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 64)
    with pytest.raises(BadInput, match="Caffe's HDF5 form of weights"):
        read_caffemodel(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_mean_image(tmp_path: Path, legacy: bool) -> None:
    image = np.random.default_rng(4).uniform(0, 255, (1, 3, 16, 12)).astype(np.float32)
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob(image, legacy).SerializeToString())
    assert read_mean(path) == pytest.approx(image[0].astype(np.float64).mean(axis=(1, 2)), rel=1e-6)


def test_other_files_as_mean(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    with pytest.raises(MissingInput, match=r"there is no such .binaryproto file"):
        read_mean(path)
    path.write_bytes(blob(np.zeros((1, 1, 4, 4), np.float32)).SerializeToString())
    with pytest.raises(BadInput, match=r"not a mean image of three channels but 16 numbers of shape \(1, 1, 4, 4\)"):
        read_mean(path)
    path.write_bytes(caffemodel(arrays(5)))
    with pytest.raises(BadInput, match=r"mean.binaryproto: not a mean image"):
        read_mean(path)
