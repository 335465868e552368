"""``spp export``: what onnxruntime computes from the file is what spp computes, for any image and any windows."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import sppcli
from sppcli.artefacts.features import RcnnRecord
from sppcli.artefacts.models import read_svm
from sppcli.detection.exporting import linear_models
from sppcli.detection.models import Model
from sppcli.errors import UsageProblem
from sppcli.features.views import Viewer
from sppcli.images import Normalisation, shorter_side
from sppcli.nets.backbones import Network, run_trunk, torchvision_model
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.detector import DetectorArchitecture, SppDetector, save_detector
from sppcli.nets.onnx_graph import needed, parts
from sppcli.nets.pixels import to_input
from sppcli.nets.weights import load_network, save_network
from sppcli.structures import Boxes, ByteImage
from tests.conftest import SHAPES, Run
from tests.stages.conftest import Work, write_network

DOCS = Path(__file__).parent.parent.parent / "docs"
NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
LAYERS = (Layer("conv", 5, 2, 2, 16), Layer("maxpool", 3, 2), Layer("conv", 3, 1, 1, 24))
LRN = Layer("lrn-within", 3, alpha=0.0005)
TOLERANCE = 1e-4
PIXELS = 1e-3
Arrays = Mapping[str, npt.NDArray[np.float32]]


def write_detector(path: Path, scale: int = 96, spread: float = 0.3, **more: Any) -> Path:
    """A detector of `spp train-detector` whose weights are drawn at random, its outputs far from 0."""
    torch.manual_seed(0)
    usual: dict[str, Any] = {"backbone": "", "cuts": ("conv2",), "layers": LAYERS, "channels": 12, "fc": (20,)}
    model = SppDetector(
        DetectorArchitecture(normalisation=NORMALISATION, classes=SHAPES, levels=(6, 3, 1), **{**usual, **more})
    ).eval()
    with torch.no_grad():
        model.scores.weight.normal_(std=spread)
        model.scores.bias[1] += spread
        model.boxes.weight.normal_(std=0.3)
    proposals = {"mode": "fast", "max_proposals": 50, "max_side": 640, "seed": 0}
    config = {"split": "train", "validation": None}
    save_detector(
        path,
        model,
        {"scale": scale, "precision": "fp32", "proposals": proposals},
        {"fingerprint": "ab" * 32, "config": config},
    )
    return path


def picture(height: int, width: int, seed: int) -> ByteImage:
    """Blocks of random colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(7, 0).repeat(7, 1)[:height, :width])


def windows_in(image: ByteImage, count: int, seed: int = 0) -> Boxes:
    """Random windows; some are a pixel across, and one is the image."""
    height, width = image.shape[:2]
    ends = np.sort(np.random.default_rng(seed).random((count, 2, 2)), axis=1).reshape(-1, 4)
    boxes = (ends * [width, height, width, height]).astype(np.float32)
    boxes[:1] = [0, 0, width, height]
    boxes[1::7, 2:] = boxes[1::7, :2] + 1
    return np.minimum(boxes, np.array([width, height, width, height], np.float32))


IMAGES = [(picture(96, 128, 0), 40), (picture(150, 71, 1), 1), (picture(33, 200, 2), 7), (picture(192, 192, 3), 0)]


def outputs(path: str, **feeds: npt.NDArray[Any]) -> Arrays:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def facts_of(path: str) -> dict[str, str]:
    return dict(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map)


def close(one: npt.NDArray[Any], other: npt.NDArray[Any], tolerance: float = TOLERANCE) -> None:
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "more",
    [
        {"layers": (LAYERS[0], LRN, *LAYERS[1:])},
        {"backbone": "squeezenet1_0", "layers": (), "cuts": ("features.4", "features.7")},
    ],
    ids=["own trunk", "two maps"],
)
def test_a_detector_of_one_network(here: Path, run: Run, more: dict[str, Any]) -> None:
    """Both passes of `spp detect`: the second reads what the first corrected, through the same file."""
    write_detector(Path("net.safetensors"), **more)
    assert run("export", "net.safetensors", "-q")[:2] == (0, "net.onnx: detector of 3 classes, " + size("net.onnx"))
    detector = sppcli.Detector.load("net.safetensors", min_score=-1, nms=1.0, max_per_image=10**6, calibration=False)
    for image, count in IMAGES:
        windows = windows_in(image, count)
        first = outputs("net.onnx", image=image, boxes=windows)
        assert first["scores"].shape == (count, 3)
        expected = detector.score(image, windows)
        for label in range(3):
            mine = expected.labels == label
            again = outputs("net.onnx", image=image, boxes=first["corrected_boxes"][:, label])
            scores = np.concatenate([found["scores"][:, label] for found in (first, again)])
            boxes = np.concatenate([found["corrected_boxes"][:, label] for found in (first, again)])
            assert same_rows(boxes, scores, expected.boxes[mine], expected.scores[mine])


def size(path: str) -> str:
    from sppcli.stages.info import size_text

    return f"{size_text(Path(path).stat().st_size)}\n"


def same_rows(
    boxes: npt.NDArray[Any], scores: npt.NDArray[Any], other: npt.NDArray[Any], others: npt.NDArray[Any]
) -> bool:
    """Whether both hold the same boxes with the same scores, in whatever order."""
    close(np.sort(scores), np.sort(others))
    close(np.sort(boxes, axis=0), np.sort(other, axis=0), PIXELS)
    close(np.sort(boxes.sum(axis=1) + 1000 * scores), np.sort(other.sum(axis=1) + 1000 * others), 0.5)
    return True


@pytest.fixture
def written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch takes a second for the conv layers, which are the same in several tests."""

    def maps_of(network: Network, name: str) -> onnx.ModelProto:
        if network.digest not in WRITTEN:
            WRITTEN[network.digest] = plain(network, name)
        return WRITTEN[network.digest]

    plain = parts.maps_of
    monkeypatch.setattr(parts, "maps_of", maps_of)


WRITTEN: dict[str, onnx.ModelProto] = {}


@pytest.mark.usefixtures("written_once")
@pytest.mark.parametrize("kind", ["fc6", "packed", "without boxes", "release"])
def test_svms_and_box_regression(work: Work, run: Run, kind: str) -> None:
    given = "."
    if kind == "fc6":
        for stage in ("train-svm", "train-bbox"):
            assert run(stage, "--layer", "fc6", "--svd", "12", "--precision", "fp32", "-q")[0] == 0
    if kind == "release":
        for stage in ("train-svm", "train-bbox"):
            assert run(stage, "--recipe", "release", "--pyramid", "6,4,2,1", "-q")[0] == 0
    if kind == "without boxes":
        Path("bbox.h5").unlink()
    if kind == "packed":
        assert run("pack", "--licence", "CC BY 4.0", "-q")[0] == 0
        given = "detector.spp"
    assert run("export", given, "-q", "-o", "d.onnx")[0] == 0
    facts = facts_of("d.onnx")
    assert json.loads(facts["classes"]) == list(SHAPES)
    assert json.loads(facts["scales"]) == [96, 160]
    assert facts.get("licence", "") == ("CC BY 4.0" if kind == "packed" else "")
    detector = sppcli.Detector.load(
        given, min_score=-1e9, nms=1.0, nms_again=False, second_pass=False, max_per_image=10**6, calibration=False
    )
    for image, count in IMAGES:
        windows = windows_in(image, count)
        found = outputs("d.onnx", image=image, boxes=windows)
        assert found["corrected_boxes"].shape == (count, 3, 4)
        expected = detector.score(image, windows)
        for label in range(3):
            mine = expected.labels == label
            assert same_rows(
                found["corrected_boxes"][:, label],
                found["scores"][:, label],
                expected.boxes[mine],
                expected.scores[mine],
            )


@pytest.mark.parametrize("pyramid", [(4, 3, 2, 1), ()], ids=["pyramid", "baseline"])
def test_a_classification_network(here: Path, run: Run, pyramid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    pool = None if pyramid else Layer("maxpool", 3, 2)
    layers = (*LAYERS[:2], Layer("lrn-across", 5, alpha=0.001), LAYERS[2])
    architecture = Architecture("small", layers, pyramid, (32, 20), SHAPES, NORMALISATION, 48, pool=pool)
    model = SppClassifier(architecture).eval()
    with torch.no_grad():
        model.last.weight.normal_(std=0.3)
    save_network(Path("net.safetensors"), model, {"seed": 0})
    assert run("export", "net.safetensors", "-q", "-o", "classes.onnx")[0] == 0
    for image, _ in [(picture(48, 48, 5), 0)] if pool else IMAGES:
        resized = shorter_side(image, 48)
        found = outputs("classes.onnx", image=resized)
        expected = Viewer(model, "center" if pool else "full", sides=[48]).probabilities([image])[0]
        close(found["probabilities"], expected)
        logits = model(to_input(torch.from_numpy(np.ascontiguousarray(resized))[None], NORMALISATION))
        close(found["logits"], logits[0].detach().numpy())


def test_conv_layers_alone(here: Path, run: Run) -> None:
    """Of a backbone at a scale, and of a network of ours as images come."""
    torch.manual_seed(0)
    torch.save(torchvision_model("squeezenet1_0").state_dict(), "squeezenet.pth")
    backbone = ("--backbone", "squeezenet1_0", "--weights", "squeezenet.pth", "--cut", "features.5", "--input", "caffe")
    assert run("export", *backbone, "--scale", "80", "-q")[0] == 0
    write_network(Path("own.safetensors"))
    assert run("export", "own.safetensors", "--trunk", "-q")[0] == 0
    networks = [load_network("squeezenet.pth", "squeezenet1_0", "features.5", "caffe"), load_network("own.safetensors")]
    for image, _ in IMAGES:
        height, width = image.shape[:2]
        factor = 80 / min(height, width)
        resized = cv2.resize(image, (int(width * factor + 0.5), int(height * factor + 0.5)))
        for path, seen, network in zip(("squeezenet1_0.onnx", "own.onnx"), (resized, image), networks, strict=True):
            found = outputs(path, image=image)["map"]
            with torch.inference_mode():
                expected = run_trunk(network.trunk, to_input(torch.from_numpy(seen)[None], network.normalisation))
            close(found, expected.numpy(), TOLERANCE * max(1.0, float(expected.max())))
    facts = facts_of("squeezenet1_0.onnx")
    assert (facts["kind"], facts["stride"], facts["cut"]) == ("conv layers", "4", "features.5")


def test_what_the_file_says_of_itself(here: Path, run: Run) -> None:
    write_detector(Path("net.safetensors"))
    code, out, _ = run("export", "net.safetensors", "--json", "-q")
    assert code == 0
    said = json.loads(out)
    assert (said["kind"], said["inputs"], said["classes"]) == ("detector", ["image", "boxes"], list(SHAPES))
    assert 0 <= said["differences"]["scores"] < TOLERANCE
    facts = facts_of("net.onnx")
    assert facts["made_by"] == f"spp export {sppcli.__version__}"
    assert facts["source"] == "net.safetensors"

    assert facts["source_sha256"] == hashlib.sha256(Path("net.safetensors").read_bytes()).hexdigest()
    assert json.loads(facts["normalisation"])["mean"] == list(NORMALISATION.mean)
    assert str(here) not in Path("net.onnx").read_bytes().decode("latin-1")
    described = json.loads(run("info", "--json", "net.onnx")[1])["files"][0]
    assert (described["kind"], described["made_by"]) == ("ONNX network", facts["made_by"])
    assert described["facts"]["classes"] == list(SHAPES)
    assert described["config"]["proposals"]["max_proposals"] == 50
    assert "a network for programs without spp" in run("info")[1]
    first = Path("net.onnx").read_bytes()
    for content in (b"", first[:100], b"a letter"):
        Path("damaged.onnx").write_bytes(content)
        code, _, err = run("info", "damaged.onnx")
        assert code == 3
        assert "damaged.onnx: no ONNX file, or a damaged one" in " ".join(err.split())
    Path("damaged.onnx").unlink()
    assert run("info", "gone.onnx")[0] == 3
    assert run("export", "net.safetensors", "-q")[0] == 0  # its own file is made again
    assert Path("net.onnx").read_bytes() == first


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ((), 2, "Name a MODEL"),
        (("gone.safetensors",), 3, "gone.safetensors: there is no such file"),
        (("letter.spp",), 3, "letter.spp"),
        (("net.safetensors", "-o", "letter.spp"), 2, "is there already and was not made by spp"),
        (("net.safetensors", "-o", "net.safetensors"), 2, "one of the files that are read"),
        (("net.safetensors", "-o", "gone/a.onnx"), 3, "the folder gone does not exist"),
        (("net.safetensors", "--trunk"), 2, "--trunk has no meaning for net.safetensors"),
        (("net.safetensors", "--cut", "conv1"), 2, "--cut has no meaning"),
        (("net.safetensors", "--input", "caffe"), 2, "--input has no meaning"),
        (("net.safetensors", "--scale", "99"), 2, "--scale has no meaning"),
        (("net.safetensors", "--weights", "imagenet"), 2, "--weights has no meaning"),
        (("empty",), 3, "svm.h5: there is no such file"),
    ],
)
def test_refusals(here: Path, run: Run, command: tuple[str, ...], code: int, text: str) -> None:
    write_detector(Path("net.safetensors"))
    Path("letter.spp").write_text("a letter")
    Path("empty").mkdir()
    before = sorted(Path().iterdir())
    found, _, err = run("export", *command)
    assert found == code, err
    assert text in " ".join(err.split())
    assert "Traceback" not in err
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("package", needed.PACKAGES)
def test_a_package_that_is_not_installed(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    write_detector(Path("net.safetensors"))
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run("export", "net.safetensors")
    assert code == 2
    assert f"ONNX files need the package {package}: pip install 'sppcli[onnx]'" in " ".join(err.split())
    assert not Path("net.onnx").exists()


def test_a_file_that_computes_something_else_is_not_written(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sppcli.nets.onnx_graph.files import Session

    plain = Session.run
    write_detector(Path("net.safetensors"))
    monkeypatch.setattr(Session, "run", lambda self, feeds: {k: v + 0.1 for k, v in plain(self, feeds).items()})
    code, _, err = run("export", "net.safetensors")
    assert code == 3
    assert "onnxruntime computes other scores than torch" in " ".join(err.split())
    assert not Path("net.onnx").exists()


def test_layers_that_torch_cannot_write(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*arguments: object, **named: object) -> None:
        raise torch.onnx.OnnxExporterError("a page of advice") from ValueError("no decomposition of aten::odd")

    write_detector(Path("net.safetensors"))
    monkeypatch.setattr(torch.onnx, "export", export)
    code, _, err = run("export", "net.safetensors")
    assert code == 2
    expected = "net.safetensors: torch cannot write it as ONNX (no decomposition of aten::odd); take another backbone"
    assert expected in " ".join(err.split())
    assert not Path("net.onnx").exists()


def test_two_networks_and_rcnn_are_refused(work: Work, run: Run) -> None:
    assert run("pack", "--model", ".", "--model", ".", "-o", "both.spp", "-q")[0] == 0
    code, _, err = run("export", "both.spp")
    assert code == 2
    assert "both.spp holds 2 networks" in " ".join(err.split())
    svm = read_svm(Path("svm.h5"))
    crops = RcnnRecord(layer="pool5", levels=(1,), head_digest="", side=48, context=16)
    rcnn = Model(replace(svm, record=replace(svm.record, rcnn=crops)), None)
    with pytest.raises(UsageProblem, match="R-CNN runs the network on every region"):
        linear_models(rcnn, None, None)


def test_the_example_of_the_page_runs(here: Path, run: Run) -> None:
    """From an image file to boxes, in a process that has neither torch nor spp."""
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "export.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 32
    write_detector(Path("detector.safetensors"), spread=3)
    assert run("export", "detector.safetensors", "-q")[0] == 0
    Image.fromarray(picture(96, 128, 0)).save("photo.jpg")
    check = "\nimport sys\nassert not {'torch', 'sppcli', 'cv2'} & set(sys.modules)\nassert len(boxes) > 50\n"
    made = subprocess.run([sys.executable, "-c", example + check], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    found = [line.split(" ", 2) for line in made.stdout.splitlines()]
    assert found
    assert all(name in SHAPES and 0.5 < float(score) <= 1 for name, score, _ in found)
