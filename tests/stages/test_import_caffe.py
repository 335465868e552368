"""spp import-caffe through the command line, and the later stages on what it makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppcli.artefacts.features import open_features
from sppcli.artefacts.models import read_svm
from sppcli.features.pooling import pool_windows
from sppcli.images import INPUTS
from sppcli.nets.weights import load_network, read_classifier
from tests.caffe.proto import blob
from tests.conftest import Voc
from tests.golden_convention import GOLDEN, golden
from tests.stages.conftest import Run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the three golden networks as NAME.prototxt and NAME.caffemodel."""
    for path in GOLDEN.glob("caffe-*.*"):
        shutil.copy(path, tmp_path / path.name.removeprefix("caffe-"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(name: str, *more: str) -> tuple[str, ...]:
    return ("import-caffe", f"{name}.caffemodel", "--prototxt", f"{name}.prototxt", *more)


def test_from_caffe_s_files_to_caffe_s_numbers(run: Run) -> None:
    """An image through import-caffe, propose and extract, pooled as one window, has the conv5 and fc7 of Caffe."""
    expected = golden("caffe-caffenet")
    Path("images").mkdir()
    Image.fromarray(np.tile(expected["tile"], (5, 5, 1))[:227, :227]).save("images/a.png")
    code, out, err = run(*arguments("caffenet", "--input", "caffe"))
    assert (code, err) == (0, "")
    assert out == (
        "network.safetensors: caffenet, 5 conv layers, 6 x 6 bins, fc 16, 12, 5; 227 pixels give 13 cells; 0.0 MB\n"
    )
    assert run("propose", "images", "-j", "1", "-q")[0] == 0
    code, _, err = run("extract", "-q", "--weights", "network.safetensors", "--scales", "227", "--precision", "fp32")
    assert code == 0, err
    with open_features(Path("features.h5")) as features:
        conv_map = features.maps(0).read(0)
        assert (features.network.backbone, features.network.input_cells) == ("caffenet", 13)
    # Maps are kept as float16.
    conv5 = expected["conv5"].transpose(1, 2, 0)
    assert np.abs(conv_map - conv5).max() < 1e-3 * conv5.max()
    network = load_network("network.safetensors")
    assert network.head is not None
    window = pool_windows(conv_map, np.array([[0, 0, 13, 13]]), network.head.levels)
    for layer in ("fc6", "fc7"):
        found = network.head.run(torch.from_numpy(window), layer)[0].numpy()
        assert np.abs(found - expected[layer]).max() < 2e-3 * expected[layer].max()
    code, out, _ = run("info", "network.safetensors")
    assert code == 0
    assert "import-caffe" in out


def test_detectors_are_trained_on_it(run: Run, voc: Voc) -> None:
    assert run(*arguments("zf5", "--input", "caffe-128", "-o", "zf.safetensors", "-q"))[0] == 0
    assert run("propose", str(voc.root), "-q", "-j", "1")[0] == 0
    assert run("extract", "-q", "--weights", "zf.safetensors", "--scales", "160,240")[0] == 0
    for layer, width in (("fc6", 16), ("fc7", 12)):
        code, _, err = run("train-svm", "-q", "--layer", layer, "-o", f"{layer}.h5")
        assert code == 0, err
        assert read_svm(Path(f"{layer}.h5")).weights.shape[1] == width


def test_json_and_classes(run: Run) -> None:
    Path("names.txt").write_text("tench, Tinca tinca\n goldfish\nshark\nray\nhen\n\n")
    code, out, _ = run(*arguments("zf5", "--input", "caffe-128", "--classes", "names.txt", "--json"))
    assert code == 0
    summary = json.loads(out)
    assert summary["levels"] == [1, 2, 3, 6]
    assert summary["fc"] == [16, 12, 5]
    assert summary["mean"] == [128, 128, 128]
    assert (summary["input_size"], summary["input_cells"], summary["notes"]) == (208, 12, [])
    model = read_classifier(Path("network.safetensors"))
    assert model.architecture.classes == ("tench, Tinca tinca", "goldfish", "shark", "ray", "hen")
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())


def test_a_pooling_that_no_pyramid_has_is_told(run: Run) -> None:
    code, _, err = run(*arguments("alexnet", "--input", "caffe"))
    assert code == 0
    assert "alexnet.prototxt: over the 6 x 6 map of its input, pooling window 0 of 3 is cells 0 to 2" in err


@pytest.mark.parametrize("form", ["numbers", "file"])
def test_mean(run: Run, form: str) -> None:
    image = np.random.default_rng(0).uniform(90, 130, (3, 9, 7)).astype(np.float32)
    pixel = image.astype(np.float64).mean(axis=(1, 2))
    Path("mean.binaryproto").write_bytes(blob(image).SerializeToString())
    mean = "mean.binaryproto" if form == "file" else ",".join(map(str, pixel))
    assert run(*arguments("zf5", "--mean", mean))[0] == 0
    normalisation = read_classifier(Path("network.safetensors")).architecture.normalisation
    assert normalisation.mean == pytest.approx(tuple(pixel), rel=1e-6)
    # Blue of an RGB image is the first channel, less the first mean.
    rgb = np.array([[[10, 20, 30]]], dtype=np.uint8)
    assert normalisation.apply(rgb)[0, 0] == pytest.approx(np.array([30, 20, 10]) - pixel, rel=1e-5)


def test_mean_of_the_prototxt(run: Run) -> None:
    text = Path("alexnet.prototxt").read_text()
    said = 'layer { name: "d" type: "Data" top: "data" transform_param { scale: 0.5 mean_value: 100 } }'
    Path("alexnet.prototxt").write_text(said + text)
    assert run(*arguments("alexnet"))[0] == 0
    normalisation = read_classifier(Path("network.safetensors")).architecture.normalisation
    assert (normalisation.mean, normalisation.order) == ((100, 100, 100), "bgr")
    assert normalisation.apply(np.array([[[110, 120, 130]]], np.uint8)).tolist() == [[[15, 10, 5]]]
    assert run(*arguments("alexnet", "--input", "caffe"))[0] == 0
    assert read_classifier(Path("network.safetensors")).architecture.normalisation == INPUTS["caffe"]


def test_two_models_and_two_prototxts(run: Run) -> None:
    """Fine-tuned fc layers lie in a file of their own; a layer's weights are the last file's that has it."""
    Path("fc.prototxt").write_text(
        'input: "data" input_dim: 1 input_dim: 400 input_dim: 1 input_dim: 1 '
        + "".join(
            line.replace('"joined"', '"data"')
            for line in Path("zf5.prototxt").read_text().splitlines(keepends=True)[3:]
            if 'name: "fc' in line or '"relu6"' in line or '"relu7"' in line
        )
    )
    common = ("--prototxt", "zf5.prototxt", "--prototxt", "fc.prototxt", "--input", "caffe-128", "-q")
    assert run("import-caffe", "alexnet.caffemodel", "zf5.caffemodel", *common)[0] == 0
    two = read_classifier(Path("network.safetensors")).state_dict()
    assert run(*arguments("zf5", "--input", "caffe-128", "-q", "-o", "one.safetensors"))[0] == 0
    one = read_classifier(Path("one.safetensors")).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one | two)
    code, _, err = run("import-caffe", "zf5.caffemodel", "alexnet.caffemodel", *common)
    assert code == 3
    assert "alexnet.caffemodel: layer conv1 has weights of shape (6, 3, 11, 11), not (6, 3, 7, 7)" in err


@pytest.mark.parametrize(
    ("more", "code", "what"),
    [
        (
            (),
            2,
            "zf5.prototxt does not say what is subtracted from the pixels; give --mean B,G,R or a mean.binaryproto",
        ),
        (("--input", "caffe", "--mean", "1,2,3"), 2, "--input and --mean both say what is subtracted"),
        (("--mean", "1,2"), 2, "--mean 1,2: three numbers are expected, as 104,117,123"),
        (("--mean", "1,2,inf"), 2, "three numbers are expected"),
        (("--mean", "none.binaryproto"), 3, "none.binaryproto: there is no such .binaryproto file"),
        (("--mean", "zf5.caffemodel"), 3, "zf5.caffemodel: not a mean image"),
        (("--input", "caffe", "-o", "net.pth"), 2, "net.pth: networks are written as .safetensors"),
        (("--input", "caffe", "--classes", "none.txt"), 3, "none.txt: there is no such file of class names"),
        (("--input", "caffe", "--classes", "gap.txt"), 3, "gap.txt: line 2 is empty"),
        (("--input", "caffe", "--classes", "."), 3, "not a readable file of class names"),
        (("--input", "caffe", "--pyramid", "1,2,3,6"), 2, "says which pyramid fc6 reads"),
        (("--input", "caffe", "--side", "99"), 3, "zf5.caffemodel: layer fc6 has weights of shape"),
        (("--input", "caffe", "--prototxt", "zf5.caffemodel"), 3, "zf5.caffemodel: not a"),
    ],
)
def test_what_is_wrong_is_one_sentence(run: Run, more: tuple[str, ...], code: int, what: str) -> None:
    Path("gap.txt").write_text("a\n\nc\n")
    found, out, err = run(*arguments("zf5", *more))
    assert (found, out) == (code, "")
    assert what in err
    assert "Traceback" not in err
    assert not list(Path().glob("*.safetensors"))


def test_a_truncated_model(run: Run) -> None:
    Path("zf5.caffemodel").write_bytes(Path("zf5.caffemodel").read_bytes()[:-999])
    code, _, err = run(*arguments("zf5", "--input", "caffe"))
    assert code == 3
    assert "zf5.caffemodel: not a .caffemodel file, or only a part of one (its last field lacks " in err


def test_a_mean_file_that_the_prototxt_names(run: Run) -> None:
    text = Path("zf5.prototxt").read_text()
    Path("zf5.prototxt").write_text(
        'layers { name: "d" type: DATA top: "data" data_param { mean_file: "m.binaryproto" } }' + text
    )
    code, _, err = run(*arguments("zf5"))
    assert code == 2
    assert "subtracted from the pixels as a number, only 'm.binaryproto'; give --mean" in err
