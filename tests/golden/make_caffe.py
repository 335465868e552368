"""Makes tests/golden/caffe-*: small networks of random weights, run by OpenCV's own reader of Caffe's files.

It needs OpenCV 4 (version 5 has no Caffe reader) and protobuf, in an environment apart from the project's:

    pip install 'opencv-contrib-python-headless<5' protobuf numpy
    python -m tests.golden.make_caffe
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from tests.caffe.proto import caffemodel

HERE = Path(__file__).parent


def layer(name: str, kind: str, bottom: str, top: str, parameters: str = "", form: str = "new") -> str:
    if form == "new":
        return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {parameters} }}\n'
    upper = {"InnerProduct": "INNER_PRODUCT"}.get(kind, kind.upper())
    return f'layers {{ bottom: "{bottom}" top: "{top}" name: "{name}" type: {upper} {parameters} }}\n'


def conv(filters: int, kernel: int, stride: int = 1, pad: int = 0, group: int = 1) -> str:
    sizes = f"num_output: {filters} kernel_size: {kernel} stride: {stride} pad: {pad} group: {group}"
    return f"convolution_param {{ {sizes} }}"


POOL = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
ACROSS = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
WITHIN = "lrn_param { local_size: 3 alpha: 0.00005 beta: 0.75 norm_region: WITHIN_CHANNEL }"


def chain(steps: list[tuple[str, str, str]], form: str) -> str:
    """Layers (name, kind, parameters), each on the one before; ReLU and Dropout in place."""
    text, bottom = "", "data"
    for name, kind, parameters in steps:
        top = bottom if kind in ("ReLU", "Dropout") else name
        text += layer(name, kind, bottom, top, parameters, form)
        bottom = top
    return text


def inner(outputs: int) -> str:
    return f"inner_product_param {{ num_output: {outputs} }}"


def head(outputs: int) -> list[tuple[str, str, str]]:
    drop = "dropout_param { dropout_ratio: 0.5 }"
    return [
        ("fc6", "InnerProduct", inner(16)),
        ("relu6", "ReLU", ""),
        ("drop6", "Dropout", drop),
        ("fc7", "InnerProduct", inner(12)),
        ("relu7", "ReLU", ""),
        ("drop7", "Dropout", drop),
        ("fc8", "InnerProduct", inner(outputs)),
    ]


def alex(order: str) -> list[tuple[str, str, str]]:
    """AlexNet (``np``: normalises, then pools) or CaffeNet (``pn``), with few channels and its groups."""
    around: list[tuple[str, str, str]] = []
    for number, convolution in ((1, conv(6, 11, 4)), (2, conv(8, 5, 1, 2, 2))):
        both = [(f"norm{number}", "LRN", ACROSS), (f"pool{number}", "Pooling", POOL)]
        around += [(f"conv{number}", "Convolution", convolution), (f"relu{number}", "ReLU", "")]
        around += both if order == "np" else both[::-1]
    for number, convolution in ((3, conv(12, 3, 1, 1)), (4, conv(12, 3, 1, 1, 2)), (5, conv(8, 3, 1, 1, 2))):
        around += [(f"conv{number}", "Convolution", convolution), (f"relu{number}", "ReLU", "")]
    return around


def zf() -> list[tuple[str, str, str]]:
    """ZF-5 of the release, with few channels."""
    steps: list[tuple[str, str, str]] = []
    for number, convolution in ((1, conv(6, 7, 2, 1)), (2, conv(8, 5, 2))):
        steps += [(f"conv{number}", "Convolution", convolution), (f"relu{number}", "ReLU", "")]
        steps += [(f"norm{number}", "LRN", WITHIN), (f"pool{number}", "Pooling", POOL)]
    for number, filters in ((3, 10), (4, 10), (5, 8)):
        steps += [(f"conv{number}", "Convolution", conv(filters, 3, 1, 1)), (f"relu{number}", "ReLU", "")]
    return steps


def pyramid(windows: dict[int, tuple[int, int]], form: str) -> str:
    """As the release's prototxt: a pooling a level (level -> kernel, stride), flattened and joined, 1 x 1 first."""
    text = ""
    for n, (kernel, stride) in sorted(windows.items(), reverse=True):
        parameters = f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: {stride} }}"
        text += layer(f"spm{n}", "Pooling", "conv5", f"spm{n}", parameters, form)
        text += layer(f"flat{n}", "Flatten", f"spm{n}", f"flat{n}", "", form)
    bottoms = "".join(f'bottom: "flat{n}" ' for n in sorted(windows))
    joined = layer("joined", "Concat", "BOTTOMS", "joined", "", form)
    return text + joined.replace('bottom: "BOTTOMS" ', bottoms)


def start(name: str, shape: tuple[int, int, int], form: str) -> str:
    """The head of a prototxt whose input is 1 image of ``shape``: channels, height, width."""
    if form == "new":
        dims = "".join(f"dim: {n} " for n in (1, *shape))
        return (
            f'name: "{name}"\nlayer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims}}} }} }}\n'
        )
    dims = "".join(f"input_dim: {n}\n" for n in (1, *shape))
    return f'name: "{name}"\ninput: "data"\n{dims}'


def weights(steps: list[tuple[str, str, str]], bins: int, rng: np.random.Generator) -> dict:
    layers: dict = {}
    channels, width = 3, 0
    for name, kind, parameters in steps:
        if kind not in ("Convolution", "InnerProduct"):
            continue
        words = parameters.replace("{", " ").split()
        value = {key.rstrip(":"): int(number) for key, number in pairwise(words) if number.isdigit()}
        out = value["num_output"]
        if kind == "Convolution":
            shape: tuple[int, ...] = (out, channels // value["group"], value["kernel_size"], value["kernel_size"])
            channels, width = out, out * bins
        else:
            shape, width = (out, width), out
        kernel = rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        layers[name] = (kind, [kernel, rng.normal(0, 5, out).astype(np.float32)])
    return layers


def run(prototxt: str, model: bytes, blob: np.ndarray, wanted: list[str]) -> dict[str, np.ndarray]:
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(prototxt.encode(), np.uint8), np.frombuffer(model, np.uint8))
    net.enableFusion(False)
    net.setInput(blob)
    return {name: net.forward(name).copy() for name in wanted}


def main() -> None:
    rng = np.random.default_rng(20)
    # Images are cut from this one, repeated; tests do the same.
    tile = cv2.GaussianBlur(rng.integers(0, 256, (48, 48, 3)).astype(np.uint8), (0, 0), 1.5)
    tile = cv2.normalize(tile, None, 0, 255, cv2.NORM_MINMAX)
    for name, form, steps in (
        ("alexnet", "new", alex("np")),
        ("caffenet", "v1", alex("pn")),
        ("zf5", "v1", zf()),
    ):
        spp = name == "zf5"
        # alexnet: 6 x 6 maps, pooled to 3 x 3; caffenet: 13 x 13 and 6 x 6, as the original; zf5: 12 x 12, and the
        # pyramid 1, 2, 3, 6 as in the release.
        side = {"alexnet": 103, "caffenet": 227, "zf5": 208}[name]
        image, other = np.tile(tile, (5, 5, 1))[:side, :side], np.tile(tile, (5, 5, 1))[:86, :119]
        middle = pyramid({1: (12, 12), 2: (6, 6), 3: (4, 4), 6: (2, 2)}, form) if spp else ""
        pool5 = [] if spp else [("pool5", "Pooling", POOL)]
        fc = chain(head(5), form)
        last = "joined" if spp else "pool5"
        fc = fc.replace('bottom: "data"', f'bottom: "{last}"')
        pool = chain(pool5, form).replace('bottom: "data"', 'bottom: "conv5"')
        prob = layer("prob", "Softmax", "fc8", "prob", "", form)
        prototxt = start(name, (3, side, side), form) + chain(steps, form) + middle + pool + fc + prob
        model = caffemodel(weights(steps + head(5), {103: 9, 227: 36, 208: 50}[side], rng), form)
        mean = 128.0 if spp else np.array([104, 117, 123], dtype=np.float32)
        blobs = [(rgb[None, :, :, ::-1].astype(np.float32) - mean).transpose(0, 3, 1, 2) for rgb in (image, other)]
        wanted = ["relu5", last, "relu6", "relu7", "fc8"]
        small = start(name, (3, *other.shape[:2]), form) + chain(steps, form)
        found = run(prototxt, model, blobs[0], wanted)
        maps = run(small, model, blobs[1], ["relu5"])["relu5"]
        (HERE / f"caffe-{name}.prototxt").write_text(prototxt)
        (HERE / f"caffe-{name}.caffemodel").write_bytes(model)
        np.savez_compressed(
            HERE / f"caffe-{name}.npz",
            tile=tile,
            other_conv5=maps[0],
            conv5=found["relu5"][0],
            pooled=found[last].ravel(),
            fc6=found["relu6"].ravel(),
            fc7=found["relu7"].ravel(),
            fc8=found["fc8"].ravel(),
        )
        for key, value in found.items():
            print(name, key, value.shape, f"at most {abs(value).max():.1f}, {(value > 0).mean():.0%} above 0")


if __name__ == "__main__":
    main()
