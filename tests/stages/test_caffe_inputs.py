"""``spp import-caffe`` on what prototxts say of their inputs: several, grey, RGB; byte order marks; means in .npy."""

from __future__ import annotations

import codecs
import shutil
from pathlib import Path

import numpy as np
import pytest

from sppcli.nets.weights import read_classifier
from tests.caffe.proto import caffemodel
from tests.conftest import Run
from tests.golden_convention import GOLDEN

OUT = Path("network.safetensors")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with net.prototxt and net.caffemodel, and the text of the first without its input."""
    shutil.copy(GOLDEN / "caffe-caffenet.caffemodel", tmp_path / "net.caffemodel")
    shutil.copy(GOLDEN / "caffe-caffenet.prototxt", tmp_path / "net.prototxt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(run: Run, *more: str) -> tuple[int, str]:
    code, _, err = run("import-caffe", "net.caffemodel", "--prototxt", "net.prototxt", *more)
    return code, err


def with_input(text: str) -> None:
    """Declare the input of net.prototxt, called data, by ``text``."""
    body = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text('name: "net"\n' + text + "\n" + body[body.index("layer") :])


IMAGE = "{ dim: 1 dim: 3 dim: 227 dim: 227 }"
SEVERAL = {
    "fields of old": 'input: "data" input: "info" input_dim: 1 input_dim: 3 input_dim: 227 input_dim: 227 '
    "input_dim: 1 input_dim: 3 input_dim: 1 input_dim: 1",
    "shapes": f'input: "data" input_shape {IMAGE} input: "im_info" input_shape {{ dim: 1 dim: 3 }}',
    "the image last": f'input: "rois" input_shape {{ dim: 1 dim: 5 }} input: "data" input_shape {IMAGE}',
    "layers": f'layer {{ name: "rois" type: "Input" top: "rois" input_param {{ shape {{ dim: 9 dim: 5 }} }} }}\n'
    f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {IMAGE} }} }}',
    "one layer of two": f'layer {{ name: "in" type: "Input" top: "label" top: "data" '
    f"input_param {{ shape {{ dim: 1 }} shape {IMAGE} }} }}",
}


@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL)
def test_of_several_inputs_the_image_is_read(run: Run, text: str) -> None:
    assert made(run, "--input", "caffe")[0] == 0
    expected = OUT.read_bytes()
    with_input(text)
    code, err = made(run, "--input", "caffe")
    assert code == 0, err
    assert len(OUT.read_bytes()) > len(expected) - 200
    assert read_classifier(OUT).architecture.input_size == 227


def test_a_layer_that_reads_another_input_is_refused(run: Run) -> None:
    with_input(SEVERAL["shapes"])
    text = Path("net.prototxt").read_text().replace('bottom: "data"', 'bottom: "im_info"')
    Path("net.prototxt").write_text(text)
    code, err = made(run, "--input", "caffe")
    assert code == 3
    assert "reads the input 'im_info' besides the image 'data'" in err


GREY = {
    "field": 'input: "data" input_dim: 1 input_dim: 1 input_dim: 227 input_dim: 227',
    "shape": 'input: "data" input_shape { dim: 1 dim: 1 dim: 227 dim: 227 }',
    "input layer": 'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 9 dim: 9 } }}',
    "memory": 'layer { name: "d" type: "MemoryData" top: "data" top: "label" '
    "memory_data_param { batch_size: 1 channels: 1 height: 32 width: 32 } }",
    "forced": 'layer { name: "d" type: "Data" top: "data" transform_param { force_gray: true } }',
    "files": 'layer { name: "d" type: "ImageData" top: "data" image_data_param { is_color: false } }',
}


@pytest.mark.parametrize("text", GREY.values(), ids=GREY)
def test_grey_networks_are_said_to_be_so_at_once(run: Run, text: str) -> None:
    with_input(text)
    code, err = made(run)
    assert code == 3
    assert "grey images; spp's networks read the three channels of colour images" in err


def test_grey_weights_are_said_to_be_so_before_anything_is_asked(run: Run) -> None:
    with_input('layer { name: "data" type: "Data" top: "data" }')
    grey = {"conv1": ("Convolution", [np.zeros((8, 1, 11, 11)), np.zeros(8)])}
    Path("net.caffemodel").write_bytes(caffemodel(grey))
    code, err = made(run)
    assert code == 3
    assert "net.caffemodel: layer conv1 reads one channel, grey images; spp's networks" in err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(run: Run, encoding: str) -> None:
    Path("net.prototxt").write_text("# é\n" + Path("net.prototxt").read_text(), encoding=encoding)
    Path("names.txt").write_text("a\nb\nc\nd\ne\n", encoding=encoding)
    assert Path("names.txt").read_bytes().startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE))
    code, err = made(run, "--input", "caffe", "--classes", "names.txt")
    assert code == 0, err
    assert read_classifier(OUT).architecture.classes == tuple("abcde")


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (3, 8, 6), (1, 3, 8, 6), (8, 6, 3)])
def test_means_in_npy(run: Run, shape: tuple[int, ...]) -> None:
    pixel = np.array([104.0, 117.5, 123.0])
    image = np.broadcast_to(pixel if shape[-1] == 3 else pixel.reshape(3, *[1] * (2 if len(shape) > 1 else 0)), shape)
    np.save("mean.npy", image)
    code, err = made(run, "--mean", "mean.npy")
    assert code == 0, err
    normalisation = read_classifier(OUT).architecture.normalisation
    assert (normalisation.mean, normalisation.order) == ((104.0, 117.5, 123.0), "bgr")


@pytest.mark.parametrize("value", [np.zeros((2, 4, 4)), np.array(["a", "b", "c"]), np.zeros((3, 0, 4)), np.zeros(())])
def test_other_npy_files_are_refused(run: Run, value: np.ndarray) -> None:
    np.save("mean.npy", value)
    code, err = made(run, "--mean", "mean.npy")
    assert code == 3
    assert "mean.npy: not a mean image of three channels" in err
    Path("mean.npy").write_bytes(b"no array")
    assert made(run, "--mean", "mean.npy")[0] == 3
    np.save("mean.npy", np.array([object()]), allow_pickle=True)
    assert "not a readable .npy file" in made(run, "--mean", "mean.npy")[1]
    Path("mean.npy").unlink()
    assert "there is no such .npy file" in made(run, "--mean", "mean.npy")[1]


@pytest.mark.parametrize(
    ("options", "mean"),
    [(("--mean", "123,117,104"), (123, 117, 104)), (("--input", "caffe"), (123, 117, 104))],
)
def test_networks_trained_on_rgb(run: Run, options: tuple[str, ...], mean: tuple[float, ...]) -> None:
    code, err = made(run, "--channels", "rgb", *options)
    assert code == 0, err
    normalisation = read_classifier(OUT).architecture.normalisation
    assert (normalisation.mean, normalisation.order) == (mean, "rgb")
    # A red pixel: 255, 0, 0 minus the mean, red first.
    red = normalisation.apply(np.array([[[255, 0, 0]]], dtype=np.uint8))
    assert red.ravel().tolist() == [255 - 123, -117, -104]
