"""Every stage that runs a network, on each device: the GPU's results are those of the CPU, to rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from h5py import File
from safetensors.numpy import load_file

from sppcli.artefacts.features import open_features
from tests.devices import DEVICES
from tests.stages.conftest import SCALES, Run, Work
from tests.stages.test_train_net import SMALL, draw_folder

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_extract(device: str, precision: str, work: Work, run: Run) -> None:
    arguments = ("--weights", "net.safetensors", "--scales", SCALES, "--precision", precision, "--device", device)
    code, _, err = run("extract", *arguments, "-o", "there.h5", "-q")
    assert code == 0, err
    # fp32 maps are stored as float16, 11 significant bits; bf16 has 8, through two conv layers.
    tolerance = 2e-3 if precision == "fp32" else 3e-2
    with open_features(Path("features.h5")) as expected, open_features(Path("there.h5")) as found:
        assert found.images.ids == expected.images.ids
        for row in range(len(found.images)):
            for scale in range(2):
                mine, theirs = found.maps(row).read(scale), expected.maps(row).read(scale)
                assert np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


def test_rcnn(device: str, work: Work, run: Run) -> None:
    for place, name in ((device, "there.h5"), ("cpu", "here.h5")):
        arguments = ("--weights", "net.safetensors", "--method", "rcnn", "--precision", "fp32", "--context", "4")
        code, _, err = run("extract", *arguments, "--device", place, "-o", name, "-q")
        assert code == 0, err
    with open_features(Path("here.h5")) as expected, open_features(Path("there.h5")) as found:
        for row in range(len(found.images)):
            boxes = expected.boxes(row)
            mine, theirs = found.vectors(row).of(boxes), expected.vectors(row).of(boxes)
            np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-3 * np.abs(theirs).max())


def test_detect_in_a_new_image(device: str, work: Work, run: Run) -> None:
    image = str(work.voc.image(work.voc.splits["test"][0]))
    found = []
    for place in (device, "cpu"):
        code, out, err = run("detect", image, "--device", place, "-q")
        assert code == 0, err
        found.append([json.loads(line) for line in out.splitlines()])
    mine, theirs = found
    assert theirs
    # Rounding may carry a weak window across a threshold, not the ones that count.
    strong = [d for d in theirs if d["score"] > 0]
    assert strong
    for detection in strong:
        near = min(mine, key=lambda d: (d["class"] != detection["class"], abs(d["score"] - detection["score"])))
        assert near["class"] == detection["class"]
        assert near["score"] == pytest.approx(detection["score"], abs=0.02)
        assert near["box"] == pytest.approx(detection["box"], abs=0.5)


def test_trainings_on_fc_layers(device: str, work: Work, run: Run) -> None:
    """The model is the CPU's to rounding, and is known as the same."""
    fc = ("--layer", "fc6", "--precision", "fp32", "-q")
    for stage, output in (("train-svm", "svm.h5"), ("train-bbox", "bbox.h5")):
        code, _, err = run(stage, *fc, "--device", device)
        assert code == 0, err
        assert "up to date" in run(stage, *fc, "--device", "cpu")[1]
        assert run(stage, *fc, "--device", "cpu", "-o", f"here-{output}")[0] == 0
        with File(output) as there, File(f"here-{output}") as here:
            mine, theirs = (np.ravel(file["weights"][()]) for file in (there, here))
        assert mine @ theirs > 0.999 * np.linalg.norm(mine) * np.linalg.norm(theirs)


def test_finetune(device: str, work: Work, run: Run) -> None:
    quick = ("--iterations", "60", "--rate", "0.02", "--batch", "32", "--check", "20", "--device", device)
    code, out, err = run("finetune", *quick, "-q", "--json")
    assert code == 0, err
    checks = json.loads(out)["checks"]
    assert checks[-1]["validation_loss"] < 0.9 * checks[0]["validation_loss"]
    before, after = load_file("net.safetensors"), load_file("finetuned.safetensors")
    assert all(np.array_equal(before[name], after[name]) == name.startswith("trunk.") for name in before)


def test_train_net_and_classify(device: str, tmp_path: Path, run: Run) -> None:
    images = draw_folder(tmp_path / "stripes", {"train": 40, "val": 10, "test": 12})
    output = str(tmp_path / "net.safetensors")
    schedule = ("--dropout", "0.2", "--schedule", "steps", "--epochs", "8", "--sizes", "26,32", "--seed", "1")
    code, _, err = run("train-net", str(images), *SMALL, *schedule, "--device", device, "-o", output)
    assert code == 0, err
    errors = []
    for place in (device, "cpu"):
        arguments = ("--split", "test", "--device", place, "--precision", "fp32", "-q", "--json")
        code, out, err = run("classify", str(images), "--network", output, *arguments)
        assert code == 0, err
        errors.append(json.loads(out)["results"][0]["top1_error"])
    assert errors[0] == errors[1] < 0.3


def test_trainings_refuse_a_device_that_is_not_there(
    device: str, work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for stage in ("train-svm", "train-bbox"):
        code, _, err = run(stage, "--layer", "fc6", "--device", "cuda", "-o", "new.h5")
        assert code == 2
        assert "torch sees no CUDA device here; use --device cpu" in err
        assert not Path("new.h5").exists()
