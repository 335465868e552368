"""Caffe networks as ours: against OpenCV's reader, a slow Caffe in numpy, and in every form of file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sppcli.caffe.caffemodel import read_caffemodel
from sppcli.caffe.network import Imported, import_network, read_graphs
from sppcli.errors import BadInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS
from sppcli.nets.classifier import Layer, SppClassifier
from sppcli.nets.weights import load_network, save_network
from tests.caffe.proto import caffemodel
from tests.golden_convention import GOLDEN, golden

NAMES = ("alexnet", "caffenet", "zf5")
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)


def read(prototxt: Path | tuple[Path, ...], model: Path, reads: str = "caffe", **options: Any) -> Imported:
    paths = prototxt if isinstance(prototxt, tuple) else (prototxt,)
    return import_network(read_graphs(paths), read_caffemodel(model), INPUTS[reads], **options)


def of_golden(name: str, **options: Any) -> Imported:
    reads = "caffe-128" if name == "zf5" else "caffe"
    return read(GOLDEN / f"caffe-{name}.prototxt", GOLDEN / f"caffe-{name}.caffemodel", reads, **options)


def pixels(name: str, height: int, width: int, model: SppClassifier) -> torch.Tensor:
    image = np.tile(golden(f"caffe-{name}")["tile"], (5, 5, 1))[:height, :width]
    return torch.from_numpy(model.architecture.normalisation.apply(image)).permute(2, 0, 1)[None]


def close(found: torch.Tensor, expected: np.ndarray) -> bool:
    assert found.shape == expected.shape
    return bool(np.abs(found.numpy() - expected).max() < 1e-5 * np.abs(expected).max())


def same(a: SppClassifier, b: SppClassifier) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return a.architecture == b.architecture and all(torch.equal(first[key], second[key]) for key in first | second)


# --- OpenCV's numbers ---


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_golden(name: str, tmp_path: Path) -> None:
    expected = golden(f"caffe-{name}")
    model = of_golden(name).model
    side = model.architecture.input_size
    maps = model.trunk(pixels(name, side, side, model))
    assert close(maps[0], expected["conv5"])
    assert close(model.trunk(pixels(name, 86, 119, model))[0], expected["other_conv5"])
    pooled = model.pool(maps)
    # The golden vector is Caffe's: of each level channel by channel. Ours has channels fastest.
    blocks = np.split(expected["pooled"], np.cumsum([8 * n * n for n in model.levels])[:-1])
    assert close(pooled[0], np.concatenate([b.reshape(8, -1).T.ravel() for b in blocks]))
    assert close(model(pixels(name, side, side, model))[0], expected["fc8"])
    # The file, as the later stages read it.
    save_network(tmp_path / "net.safetensors", model, {})
    network = load_network(str(tmp_path / "net.safetensors"))
    assert network.head is not None
    assert close(network.head.run(pooled, "fc6")[0], expected["fc6"])
    assert close(network.head.run(pooled, "fc7")[0], expected["fc7"])


def test_what_is_known_of_the_networks() -> None:
    alexnet, caffenet, zf5 = (of_golden(name).model for name in NAMES)
    kinds = [[layer.kind for layer in model.architecture.layers[:6]] for model in (alexnet, caffenet, zf5)]
    assert kinds[0] == ["conv", "lrn-across", "maxpool"] * 2
    assert kinds[1] == ["conv", "maxpool", "lrn-across"] * 2
    assert kinds[2] == ["conv", "lrn-within", "maxpool"] * 2
    assert [layer.groups for layer in alexnet.architecture.layers if layer.kind == "conv"] == [1, 2, 1, 2, 2]
    assert caffenet.architecture.pool == Layer("maxpool", 3, 2)
    assert (caffenet.architecture.pyramid, caffenet.levels, caffenet.cells) == ((), (6,), 13)
    assert (zf5.architecture.pool, zf5.levels) == (None, (1, 2, 3, 6))
    assert zf5.grid() == CellGrid(16, 20)
    assert zf5.architecture.classes == ("class_0000", "class_0001", "class_0002", "class_0003", "class_0004")
    assert (zf5.architecture.name, zf5.architecture.dropout) == ("zf5", 0.5)
    # Only AlexNet's 6 x 6 map is pooled in windows that no pyramid has.
    notes = [of_golden(name).notes for name in NAMES]
    assert (len(notes[0]), notes[1], notes[2]) == (1, (), ())
    assert "over the 6 x 6 map of its input, pooling window 0 of 3 is cells 0 to 2" in notes[0][0]


# --- a slow Caffe, as its documentation and layers have it ---


def slow_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, pad: int, groups: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    out_channels, in_channels, kernel, _ = weight.shape
    height, width = ((n - kernel) // stride + 1 for n in x.shape[1:])
    out = np.empty((out_channels, height, width))
    for o in range(out_channels):
        group = o // (out_channels // groups)
        mine = x[group * in_channels : (group + 1) * in_channels]
        for i in range(height):
            for j in range(width):
                window = mine[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                out[o, i, j] = (window * weight[o]).sum() + bias[o]
    return out


def slow_pool(x: np.ndarray, kernel: int, stride: int, pad: int) -> np.ndarray:
    sizes = []
    for n in x.shape[1:]:
        size = int(np.ceil((n + 2 * pad - kernel) / stride)) + 1
        if pad and (size - 1) * stride >= n + pad:
            size -= 1
        sizes.append(size)
    out = np.empty((len(x), *sizes))
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            top, left = i * stride - pad, j * stride - pad
            out[:, i, j] = x[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel].max(axis=(1, 2))
    return out


def slow_across(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    out = np.empty_like(x)
    for c in range(len(x)):
        near = x[max(c - size // 2, 0) : c + size // 2 + 1]
        out[c] = x[c] / (1 + alpha / size * (near**2).sum(axis=0)) ** beta
    return out


def slow_within(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    half, out = size // 2, np.empty_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            near = x[:, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
            out[:, i, j] = x[:, i, j] * (1 + alpha * (near**2).sum(axis=(1, 2)) / size**2) ** -beta
    return out


@in_one_folder
@given(st.data())
def test_a_slow_caffe(tmp_path: Path, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    draw: Callable[[int, int], int] = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    side, groups = draw(12, 19), data.draw(st.sampled_from([1, 2]))
    kernel, stride, pad = draw(1, 4), draw(1, 2), draw(0, 2)
    window, hop = draw(2, 4), 0
    hop = draw(1, window)
    margin = draw(0, window // 2)
    size, alpha, beta = data.draw(st.sampled_from([1, 3, 5])), data.draw(st.floats(0.01, 2)), 0.75
    within, pool_first, newest = (data.draw(st.booleans()) for _ in range(3))
    names = {True: "WITHIN_CHANNEL", False: "ACROSS_CHANNELS"}
    steps = [
        f'layer {{ name: "n" type: "LRN" bottom: "BOTTOM" top: "n" lrn_param {{ local_size: {size} alpha: {alpha!r} '
        f"beta: {beta} norm_region: {names[within]} }} }}",
        f'layer {{ name: "p" type: "Pooling" bottom: "BOTTOM" top: "p" pooling_param {{ kernel_size: {window} '
        f"stride: {hop} pad: {margin} }} }}",
    ]
    order = [("p", steps[1]), ("n", steps[0])] if pool_first else [("n", steps[0]), ("p", steps[1])]
    conv = f"num_output: 6 kernel_size: {kernel} stride: {stride} pad: {pad}"
    text = f"""input: "x" input_shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }}
        layer {{ name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param {{ {conv} }} }}
        layer {{ name: "ra" type: "ReLU" bottom: "a" top: "a" }}
        {order[0][1].replace("BOTTOM", "a")} {order[1][1].replace("BOTTOM", order[0][0])}
        layer {{ name: "b" type: "Convolution" bottom: "{order[1][0]}" top: "b"
                convolution_param {{ num_output: 4 kernel_size: 1 group: {groups} bias_term: false }} }}
        layer {{ name: "rb" type: "ReLU" bottom: "b" top: "rectified" }}
        layer {{ name: "f" type: "InnerProduct" bottom: "rectified" top: "f"
                inner_product_param {{ num_output: 3 }} }}"""
    image = rng.normal(0, 1, (3, side, side))
    a, a_bias = rng.normal(0, 1, (6, 3, kernel, kernel)), rng.normal(0, 1, 6)
    b = rng.normal(0, 1, (4, 6 // groups, 1, 1))
    maps = slow_conv(image, a, a_bias, stride, pad, 1).clip(0)
    for name, _ in order:
        if name == "p":
            maps = slow_pool(maps, window, hop, margin)
        else:
            maps = (slow_within if within else slow_across)(maps, size, alpha, beta)
    maps = slow_conv(maps, b, np.zeros(4), 1, 0, groups).clip(0)
    f, f_bias = rng.normal(0, 1, (3, maps.size)), rng.normal(0, 1, 3)
    layers = {"a": ("Convolution", [a, a_bias]), "b": ("Convolution", [b]), "f": ("InnerProduct", [f, f_bias])}
    (tmp_path / "net.prototxt").write_text(text)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(layers, "new" if newest else "v1", double=True))
    model = read(tmp_path / "net.prototxt", tmp_path / "net.caffemodel").model
    with torch.inference_mode():
        ours = model.trunk(torch.from_numpy(image).float()[None])[0]
        assert ours.shape == maps.shape
        assert np.allclose(ours.numpy(), maps, rtol=1e-4, atol=1e-4)
        # fc reads the whole map: a pooling of 1 x 1 windows.
        logits = model(torch.from_numpy(image).float()[None])[0]
    assert np.allclose(logits.numpy(), f @ maps.ravel() + f_bias, rtol=1e-3, atol=1e-3)


# --- forms of files ---

V0 = {
    "CONVOLUTION": "conv",
    "POOLING": "pool",
    "RELU": "relu",
    "LRN": "lrn",
    "INNER_PRODUCT": "inner_product",
    "DROPOUT": "dropout",
    "FLATTEN": "flatten",
    "CONCAT": "concat",
    "SOFTMAX": "softmax",
}


def in_v0(text: str, nested: bool) -> str:
    """A V1 prototxt as V0: parameters in blocks of the authors' names, or among the layer's own fields as BVLC's."""
    lines = []
    for line in text.splitlines():
        match = re.fullmatch(r"layers \{ (.*?) (name: .*) type: (\w+) (.*)\}", line)
        if match is None:
            lines.append(line)
            continue
        connections, name, kind, parameters = match.groups()
        if nested:
            parameters = parameters.replace("convolution_param", "conv_param").replace("pooling_param", "pool_param")
        else:
            parameters = re.sub(r"\w+_param \{ (.*) \}", r"\1", parameters).replace("kernel_size", "kernelsize")
        lines.append(f'layers {{ layer {{ {name} type: "{V0[kind]}" {parameters} }} {connections} }}')
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["new", "v1", "v0"])
@pytest.mark.parametrize("text", ["v1", "v0", "nested v0"])
@pytest.mark.parametrize("name", ["caffenet", "zf5"])
def test_the_same_network_in_every_form(tmp_path: Path, name: str, text: str, form: str) -> None:
    written = (GOLDEN / f"caffe-{name}.prototxt").read_text()
    (tmp_path / "net.prototxt").write_text(written if text == "v1" else in_v0(written, text == "nested v0"))
    blobs = read_caffemodel(GOLDEN / f"caffe-{name}.caffemodel")
    layers: dict = {}
    for layer, arrays in blobs.items():
        conv = layer.startswith("conv")
        squeeze = [array.values.reshape(array.shape if conv and i == 0 else -1) for i, array in enumerate(arrays)]
        if not conv:
            squeeze[0] = squeeze[0].reshape(len(squeeze[1]), -1)
        layers[layer] = ("Convolution" if conv else "InnerProduct", squeeze)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(layers, form))
    reads = "caffe-128" if name == "zf5" else "caffe"
    model = read(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", reads).model
    assert same(model, of_golden(name).model)


def test_two_prototxts(tmp_path: Path) -> None:
    """The release describes the fc layers apart, on a vector; what is pooled is in the first file, or is said."""
    whole = GOLDEN / "caffe-zf5.prototxt"
    model = GOLDEN / "caffe-zf5.caffemodel"
    lines = whole.read_text().splitlines(keepends=True)
    first_pool = next(i for i, line in enumerate(lines) if "spm6" in line)
    first_fc = next(i for i, line in enumerate(lines) if '"fc6"' in line)
    (tmp_path / "conv.prototxt").write_text("".join(lines[:first_pool]))
    dims = "".join(f"input_dim: {n} " for n in (128, 400, 1, 1)) + 'input: "label"' + "input_dim: 1 " * 4
    fc = 'input: "data" ' + dims + "".join(lines[first_fc:]).replace('"joined"', '"data"')
    (tmp_path / "fc.prototxt").write_text(fc + 'layers { bottom: "prob" bottom: "label" name: "acc" type: ACCURACY }')
    apart = (tmp_path / "conv.prototxt", tmp_path / "fc.prototxt")
    one = of_golden("zf5").model
    assert same(read((whole, tmp_path / "fc.prototxt"), model, "caffe-128").model, one)
    assert same(read(apart, model, "caffe-128", levels=(1, 2, 3, 6)).model, one)
    # Another order is another network: nothing in the files can tell.
    assert not same(read(apart, model, "caffe-128", levels=(6, 3, 2, 1)).model, one)
    with pytest.raises(UsageProblem, match=r"conv.prototxt ends at the conv maps; give --pyramid.* 1,2,3,6"):
        read(apart, model)
    with pytest.raises(UsageProblem, match="says which pyramid fc6 reads; leave out --pyramid"):
        of_golden("zf5", levels=(1, 2, 3, 6))
    with pytest.raises(
        BadInput, match=r"fc6 has weights of shape \(1, 1, 16, 400\), not \(16, 392\) as 7 x 7 bins of 8"
    ):
        read(apart, model, levels=(7,))
    with pytest.raises(BadInput, match="give the part with the fc layers as a second --prototxt"):
        read(apart[0], model)
    with pytest.raises(UsageProblem, match="--prototxt names 3 files"):
        read_graphs([whole, whole, whole])


def test_the_release_s_pyramid_over_13_cells(tmp_path: Path) -> None:
    """Its 2 x 2 level is 7 x 7 windows at stride 7, which do not overlap; Appendix A's bins do (golden case bins)."""
    text = (GOLDEN / "caffe-zf5.prototxt").read_text().replace("208", "224")
    for old, new in (
        ("12 stride: 12", "13 stride: 13"),
        ("6 stride: 6", "7 stride: 7"),
        ("4 stride: 4", "5 stride: 4"),
    ):
        text = text.replace(f"kernel_size: {old}", f"kernel_size: {new}")
    text = text.replace("kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2")
    (tmp_path / "net.prototxt").write_text(text)
    imported = read(tmp_path / "net.prototxt", GOLDEN / "caffe-zf5.caffemodel", "caffe-128")
    assert (imported.model.cells, imported.model.levels) == (13, (1, 2, 3, 6))
    (note,) = imported.notes
    assert note.endswith("pooling window 1 of 2 is cells 7 to 12, and spp's bin is 6 to 12")


def test_train_prototxt(tmp_path: Path) -> None:
    """Data layers, phases, crop size, losses; the TRAIN layers are left out."""
    lines = (GOLDEN / "caffe-alexnet.prototxt").read_text().splitlines()
    data = """layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
          transform_param { crop_size: 99 mean_value: 1 mean_value: 2 mean_value: 3 } }
        layer { name: "d" type: "Data" top: "data" top: "label" include: { phase: TEST }
          transform_param { crop_size: 103 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 } }
        layer { name: "extra" type: "Eltwise" bottom: "data" top: "data" exclude { phase: TEST } }"""
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss" }'
    (tmp_path / "net.prototxt").write_text("\n".join(['name: "alexnet"', data, *lines[2:-1], loss]))
    assert same(read(tmp_path / "net.prototxt", GOLDEN / "caffe-alexnet.caffemodel").model, of_golden("alexnet").model)
    said = read_graphs([tmp_path / "net.prototxt"])[0].pixels
    assert (said.side, said.mean, said.scale) == (103, (104, 117, 123), 0.5)
