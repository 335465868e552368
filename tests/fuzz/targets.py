"""Every reader of files of others, with small files that it reads."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.proposals import read_proposals
from sppcli.caffe.caffemodel import read_caffemodel, read_mean
from sppcli.caffe.network import import_network, read_graphs
from sppcli.datasets import open_dataset
from sppcli.datasets.coco import CocoDataset
from sppcli.datasets.records import WRITERS, collect, losses
from sppcli.datasets.results.coco import read_coco_results
from sppcli.datasets.results.localisation import read_localisation_results
from sppcli.datasets.results.voc import read_results
from sppcli.images import INPUTS, decode, problem_with, upright_size
from sppcli.nets.architectures import architecture
from sppcli.nets.classifier import SppClassifier
from sppcli.nets.weight_files import read_weights
from sppcli.nets.weights import read_classifier, save_network
from sppcli.proposals.window_files import read_windows
from sppcli.stages.convert import ConvertConfig
from sppcli.stages.convert import run as convert
from tests.caffe.proto import blob, caffemodel
from tests.conftest import Voc, build_voc
from tests.datasets.exports import LAYOUTS
from tests.nets.weight_files import archive, legacy
from tests.small_artefacts import write_detections, write_proposals
from tests.stages.matfile import mat_file
from tests.stages.test_ilsvrc import build_ilsvrc, write_names

IMAGES = ("jpeg", "png", "bmp", "gif", "tiff", "webp", "ppm")


@dataclass(frozen=True)
class Target:
    """``file``: what is changed; ``read``: reads it, where it lies in the folder with all it belongs to."""

    name: str
    file: Path
    read: Callable[[Path], object]
    every: int = 1
    """One input in so many: for readers that take long."""

    seed: bytes = b""


def targets(folder: Path) -> dict[str, Target]:
    """All of them, their files written below ``folder``."""
    found: dict[str, Target] = {}
    for target in (
        *_datasets(folder / "sets"),
        *_results(folder / "results"),
        *_windows(folder / "windows"),
        *_networks(folder / "networks"),
        *_images(folder / "images"),
        *_artefacts(folder / "artefacts"),
    ):
        name = target.name
        while name in found:
            name += "+"
        found[name] = replace(target, name=name, seed=target.file.read_bytes())
    return found


def _placed(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read_set(root: Path, out: Path) -> None:
    """A data set from end to end: opened, collected, and now and then written in a format, inside a folder only."""
    dataset = open_dataset([root])
    data = collect(dataset)
    dataset.remarks()
    for split in dataset.split_names():
        dataset.split(split)
    for to in WRITERS:
        losses(data, to)  # type: ignore[arg-type]
    number = hashlib.sha256(repr((data.classes, data.splits, data.images)).encode("utf-8", "replace")).digest()[0]
    if number < 64:
        to = tuple(WRITERS)[number % len(WRITERS)]
        out.mkdir(parents=True, exist_ok=True)
        before = set(out.parent.iterdir())
        try:
            convert(root, out / "made", ConvertConfig(to=to))  # type: ignore[arg-type]
            assert [path.name for path in out.iterdir()] == ["made"], "something lies beside the output"
        finally:
            shutil.rmtree(out)
        assert set(out.parent.iterdir()) == before - {out}, "something lies outside the output"


def _set(root: Path, name: str, file: Path) -> Target:
    out = root.parent.parent / "out" / name
    return Target(name, file, lambda path: read_set(root, out))


def _datasets(folder: Path) -> Iterator[Target]:
    voc = build_voc(folder / "voc", 2, size=(48, 64))
    yield _set(voc.root, "voc-xml", voc.annotation(voc.ids[0]))
    lists = sorted((voc.root / "ImageSets" / "Main").glob("*.txt"))
    yield _set(voc.root, "voc-list", lists[0])
    for to, patterns in {"coco": ("annotations/*.json",), "yolo": ("labels/*.txt", "data.yaml", "*.txt")}.items():
        convert(voc.root, folder / to, ConvertConfig(to=to))  # type: ignore[arg-type]
        for number, pattern in enumerate(patterns):
            file = max((folder / to).glob(pattern), key=lambda path: (path.stat().st_size, path.name))
            yield _set(folder / to, f"{to}-{number}{file.suffix}", file)
    convert(voc.root, folder / "csv", ConvertConfig(to="csv"))
    yield _set(folder / "csv", "csv", folder / "csv" / "annotations.csv")
    for name, layout in LAYOUTS.items():
        root = layout.write(folder / name)
        for file in [path for path in layout.files if Path(path).suffix]:
            yield _set(root, f"{name}-{Path(file).name}", root / file)
    ilsvrc = build_ilsvrc(folder / "ilsvrc")
    names = write_names(ilsvrc.root)
    yield _set(ilsvrc.root, "ilsvrc-names", names)
    yield _set(ilsvrc.root, "ilsvrc-xml", sorted(ilsvrc.root.rglob("*.xml"))[0])
    yield _set(ilsvrc.root, "ilsvrc-list", sorted((ilsvrc.root / "ImageSets").rglob("*.txt"))[0])


def _results(folder: Path) -> Iterator[Target]:
    voc = build_voc(folder / "voc", 2, size=(48, 64))
    lines = "".join(f"{name} 0.{i + 1} 1 2 30 40\n{name} 0.05 3 4 20 30\n" for i, name in enumerate(voc.ids))
    file = _placed(folder / "r" / "comp4_det_test_disc.txt", lines.encode())
    yield Target("results-voc", file, lambda path: read_results(path.parent, "test", image_ids=voc.ids))
    convert(voc.root, folder / "coco", ConvertConfig(to="coco"))
    dataset = CocoDataset(folder / "coco")
    split = next(name for name in dataset.split_names() if dataset.split(name))
    image = next(iter(dataset.numbers(split).images))
    rows = [{"image_id": image, "category_id": k, "bbox": [1, 2, 10, 12.5], "score": 0.5} for k in (1, 2)]
    file = _placed(folder / "results.json", json.dumps(rows).encode())
    yield Target("results-coco", file, lambda path: read_coco_results(path, dataset, split))
    text = "ImageId,PredictionString\na,n01440764 1 2 30 40 n01443537 3 4 20 30\nb,\n"
    file = _placed(folder / "localisation.csv", text.encode())
    yield Target("results-localisation", file, lambda path: read_localisation_results(path, ["a", "b"], {}))


def _windows(folder: Path) -> Iterator[Target]:
    csv = "image,x0,y0,x1,y1,score\na,1,2,3,4,0.5\na,2,3,9,9,0.25\nb,0,0,5,5,1\n"
    lines = '{"image": "a", "box": [1, 2, 3, 4], "score": 0.5}\n{"image": "b", "box": [0, 0, 5, 5.5]}\n'
    coco = [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}, {"image_id": "b", "bbox": [0, 0, 5, 5]}]
    whole = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": coco[:1]}
    files = {"w.csv": csv, "w.jsonl": lines, "w.json": json.dumps(coco), "whole.json": json.dumps(whole)}
    for name, text in files.items():
        yield Target(f"windows-{name}", _placed(folder / name, text.encode()), read_windows)
    mat = mat_file(["a", "bc"], [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 8, 9, 9]]])
    yield Target("windows-mat", _placed(folder / "w.mat", mat), read_windows, every=60)


PROTOTXT = """name: "small"
input: "data" input_shape { dim: 1 dim: 3 dim: 20 dim: 20 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "fc6" type: "InnerProduct" bottom: "pool1" top: "fc6" inner_product_param { num_output: 5 } }
layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "fc7" type: "InnerProduct" bottom: "fc6" top: "fc7" inner_product_param { num_output: 3 } }
"""


def _networks(folder: Path) -> Iterator[Target]:
    text = _placed(folder / "net.prototxt", PROTOTXT.encode())
    yield Target("prototxt", text, lambda path: read_graphs([path]))
    rng = np.random.default_rng(0)
    shapes = {"conv1": ("Convolution", (4, 3, 3, 3)), "fc6": ("InnerProduct", (5, 64)), "fc7": ("InnerProduct", (3, 5))}
    layers = {
        name: (kind, [rng.random(shape).astype(np.float32), np.zeros(shape[0], np.float32)])
        for name, (kind, shape) in shapes.items()
    }
    graphs = read_graphs([text])
    for form in ("new", "v1"):
        file = _placed(folder / f"{form}.caffemodel", caffemodel(layers, form))
        yield Target(
            f"caffemodel-{form}", file, lambda path: import_network(graphs, read_caffemodel(path), INPUTS["caffe"])
        )
    mean = blob(np.ones((3, 4, 4), np.float32), legacy=True).SerializeToString()
    yield Target("binaryproto", _placed(folder / "mean.binaryproto", bytes(mean)), read_mean)
    stream = io.BytesIO()
    np.save(stream, np.ones((3, 4, 4), np.float32))
    yield Target("npy", _placed(folder / "mean.npy", stream.getvalue()), read_mean)
    state = {"features.0.weight": torch.ones(4, 3, 3, 3), "classifier.1.bias": torch.zeros(5)}
    for name, data in {"w.pth": archive(state), "old.pth": legacy(state), "w.safetensors": save(state)}.items():
        yield Target(f"weights-{name}", _placed(folder / name, data), read_weights)
    file = folder / "own.safetensors"
    save_network(file, SppClassifier(architecture("tiny", ("a", "b"), side=36)), {})
    yield Target("network", file, read_classifier, every=10)


def _image(path: Path) -> None:
    problem_with(path, 600)
    try:
        upright_size(path)
    finally:
        decode(path.read_bytes(), str(path))


def _images(folder: Path) -> Iterator[Target]:
    noise = np.random.default_rng(1).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    folder.mkdir(parents=True)
    for form in IMAGES:
        file = folder / f"a.{form}"
        picture = Image.fromarray(noise)
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(file, exif=exif) if form in ("jpeg", "png", "tiff", "webp") else picture.save(file)
        yield Target(f"image-{form}", file, _image)
    Image.fromarray(noise[:, :, 0]).convert("P").save(folder / "palette.png", transparency=3)
    Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(noise).convert("CMYK").save(folder / "cmyk.jpeg")
    Image.fromarray(noise).save(folder / "lzw.tiff", compression="tiff_lzw")
    for name in ("palette.png", "deep.png", "cmyk.jpeg", "lzw.tiff"):
        yield Target(f"image-{name}", folder / name, _image)
    import cv2

    cv2.imwrite(str(folder / "deep.tiff"), noise.astype(np.uint16) * 257)
    yield Target("image-deep.tiff", folder / "deep.tiff", _image)


def _artefacts(folder: Path) -> Iterator[Target]:
    voc: Voc = build_voc(folder / "voc", 2, size=(48, 64))
    write_proposals(folder / "proposals.h5", voc, 3, (48, 64))
    write_detections(folder / "detections.h5", voc, {voc.ids[0]: [("disc", (1.0, 2.0, 3.0, 4.0), 0.5)]})
    yield Target("proposals.h5", folder / "proposals.h5", read_proposals)
    yield Target("detections.h5", folder / "detections.h5", read_detections)
