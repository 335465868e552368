"""`sppcli.Detector`, the object behind ``spp detect IMAGE``, and what is opened and loaded how often."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import sppcli
from sppcli.errors import BadInput, MissingInput, StaleArtefact, UsageProblem
from sppcli.nets import backbones, weights
from tests.conftest import Run
from tests.stages.conftest import Work, write_network

ROOT = Path(__file__).parent.parent.parent
LIGHT = """
import sys
import sppcli
assert "Detector" in dir(sppcli)
assert {"numpy", "torch", "PIL", "cv2", "h5py", "click"}.isdisjoint(sys.modules)
"""
AFTER = """
import json, sys
assert {"click", "rich"}.isdisjoint(sys.modules)
print(json.dumps([boxes.tolist(), scores.tolist(), list(labels)]))
"""


def by_command(run: Run, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = run("detect", *arguments, "--format", "jsonl")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def as_lines(found: Any) -> list[tuple[str, float, list[float]]]:
    boxes, scores, labels = found
    return [
        (label, round(float(score), 6), [round(float(value), 2) for value in box])
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]


def test_the_readmes_lines_find_what_the_command_finds(work: Work, run: Run) -> None:
    shutil.copy(work.voc.image(work.voc.splits["test"][0]), "photo.jpg")
    lines = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert lines is not None
    assert len([line for line in lines[1].splitlines() if line]) == 3
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", lines[1] + AFTER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = as_lines(json.loads(done.stdout))
    assert found == [(line["class"], line["score"], line["box"]) for line in by_command(run, "photo.jpg")]
    assert found


def test_importing_the_package_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="Detektor"):
        sppcli.Detektor  # type: ignore[attr-defined]  # noqa: B018


def test_files_pillow_images_and_arrays(work: Work) -> None:
    detector = sppcli.Detector.load(work.folder / "svm.h5", min_score=-1.5, device="cpu")
    assert detector.classes == ("disc", "square", "triangle")
    path = work.voc.image(work.voc.splits["test"][0])
    boxes, scores, labels = detector.detect(path)
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.shape == (len(labels), 4)
    assert len(labels) > 3
    assert set(labels) <= set(detector.classes)
    assert (np.diff(scores) <= 0).all()
    with Image.open(path) as opened:
        by_pillow = detector.detect(opened)
        pixels = np.asarray(opened.convert("RGB"))
    by_array = detector.detect(pixels)
    assert as_lines(by_array) == as_lines(by_pillow)
    assert as_lines(by_array)[0][:2] == as_lines((boxes, scores, labels))[0][:2]
    # Pixels need not lie one after the other, and blank ones show nothing.
    padded = np.zeros((pixels.shape[0], pixels.shape[1], 5), np.uint8)
    padded[:, :, 1:4] = pixels
    assert as_lines(detector.detect(padded[:, :, 1:4])) == as_lines(by_array)


def test_a_pillow_image_is_turned_as_its_file_is(work: Work) -> None:
    detector = sppcli.Detector.load(".", min_score=-1.5)
    with Image.open(work.voc.image(work.voc.splits["test"][0])) as opened:
        upright = opened.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save("turned.png", exif=exif)
    with Image.open("turned.png") as opened:
        assert as_lines(detector.detect(opened)) == as_lines(detector.detect(upright))
    assert detector.detect("turned.png").boxes[:, 3].max() <= upright.height


def test_options_are_those_of_the_command(work: Work, run: Run) -> None:
    path = str(work.voc.image(work.voc.splits["test"][0]))
    for options, arguments in (
        ({"bbox": False}, ("--no-bbox",)),
        ({"max_per_image": 1, "min_score": -1.0}, ("--max-per-image", "1", "--min-score", "-1")),
        ({"nms": 0.05, "nms_again": False}, ("--nms", "0.05", "--no-nms-again")),
        ({"second_pass": True, "min_score": -1.5}, ("--second-pass", "--min-score", "-1.5")),
        ({"bbox": "bbox.h5", "weights": "net.safetensors"}, ("--bbox", "bbox.h5", "--weights", "net.safetensors")),
    ):
        found = as_lines(sppcli.Detector.load(".", **options).detect(path))  # type: ignore[arg-type]
        assert found == [(line["class"], line["score"], line["box"]) for line in by_command(run, path, *arguments)]


def test_the_second_image_reloads_nothing(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = sppcli.Detector.load(work.folder)
    first, second = (work.voc.image(name) for name in work.voc.splits["test"][:2])
    assert len(detector.detect(first).labels)
    for path in work.folder.glob("*.h5"):
        path.unlink()
    Path("net.safetensors").unlink()
    assert len(detector.detect(second).labels)


def test_what_cannot_be_loaded_or_looked_at(work: Work) -> None:
    load = sppcli.Detector.load
    with pytest.raises(UsageProblem, match=r"needs a folder with svm\.h5"):
        load()
    with pytest.raises(MissingInput, match=r"nowhere/svm.h5: there is no such file; run spp train-svm first"):
        load("nowhere")
    with pytest.raises(UsageProblem, match="cannot stand for several networks"):
        load(".", ".", weights="net.safetensors")
    with pytest.raises(MissingInput, match=r"other.h5"):
        load(".", bbox="other.h5")
    write_network(Path("other.safetensors"), seed=5)
    with pytest.raises(StaleArtefact, match="was trained on another network than"):
        load(".", weights="other.safetensors")
    detector = load(".")
    for image in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(BadInput, match=r"an array \(H, W, 3\) of RGB uint8"):
            detector.detect(image)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="floating-point samples"):
        detector.detect(Image.new("F", (9, 9)))
    Path("bad.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(BadInput, match=r"bad\.jpg"):
        detector.detect("bad.jpg")
    with pytest.raises(MissingInput, match=r"gone\.jpg: there is no such image"):
        detector.detect(Path("gone.jpg"))


def test_imported_proposals_warn_whoever_has_no_command_line(work: Work, run: Run) -> None:
    Path("more.jsonl").write_text(json.dumps({"image": "000001", "box": [3, 4, 60, 50]}) + "\n")
    for arguments in (
        ("propose", "shapes", "--method", "selective-search", "--import", "more.jsonl", "-j", "1"),
        ("extract", "--weights", "net.safetensors", "--scales", "96,160", "--precision", "fp32"),
        ("train-svm",),
    ):
        code, _, err = run(*arguments, "-q")
        assert code == 0, err
    with pytest.warns(UserWarning, match="new images get only the former"):
        sppcli.Detector.load(".", bbox=False)


def test_an_evaluation_that_is_up_to_date_opens_each_artefact_once(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("evaluate", "-q")[0] == 0
    opened: Counter[str] = Counter()
    plain = h5py.File

    def counting(path: Any, *arguments: Any, **named: Any) -> Any:
        opened[path.path.name] += 1  # a file whose bytes are checked
        return plain(path, *arguments, **named)

    monkeypatch.setattr(h5py, "File", counting)
    assert run("evaluate", "-q")[0] == 0
    assert opened == dict.fromkeys(("detections.h5", "proposals.h5", "features.h5", "svm.h5", "bbox.h5"), 1)


@pytest.mark.parametrize("svd", [(), ("--svd", "8")])
def test_svms_and_box_regressors_share_one_network(
    svd: tuple[str, ...], work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("train-svm", "train-bbox"):
        assert run(stage, "--layer", "fc6", "-q")[0] == 0
    counts: Counter[str] = Counter()

    def counted(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return plain(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    counted(weights, "load_network")
    counted(weights, "trunk_digest")
    counted(backbones, "layers_digest")
    for arguments in (("detect", "--force"), ("detect", str(work.voc.image("000001")), "-o", "new.h5")):
        counts.clear()
        code, _, err = run(*arguments, *svd, "-q")
        assert code == 0, err
        assert counts == {"load_network": 1, "trunk_digest": 1, "layers_digest": 1}
