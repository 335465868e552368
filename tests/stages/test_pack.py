"""``spp pack``: one file that detects anywhere what the folder's files detect; and paths that come one by one."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sppcli
from sppcli.detection.detector import DetectedObjects
from sppcli.detection.models import DetectPaths
from sppcli.nets.backbones import describe, run_trunk, torchvision_model
from sppcli.nets.packed import packed_network, unpacked_network
from sppcli.stages import detect_new
from sppcli.stages.detect import DetectConfig
from sppcli.structures import Found
from tests.conftest import Run
from tests.stages.conftest import Work, write_network


def same(one: DetectedObjects, other: DetectedObjects) -> bool:
    """Whether both found the very same."""
    a, b = one.probabilities, other.probabilities
    likely = a is b if a is None or b is None else np.array_equal(a, b)
    return (
        likely
        and one.labels == other.labels
        and np.array_equal(one.boxes, other.boxes)
        and np.array_equal(one.scores, other.scores)
    )


@pytest.fixture
def away(work: Work, tmp_path: Path) -> Path:
    """A folder with two images and nothing else."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("000004", "000008"):
        shutil.copy(work.voc.image(name), folder / f"{name}.jpg")
    return folder


def go(away: Path, monkeypatch: pytest.MonkeyPatch, pack: str = "detector.spp") -> None:
    """Take the file to the other folder; everything else is lost."""
    shutil.move(pack, away / pack)
    here = Path.cwd()
    monkeypatch.chdir(away)
    shutil.rmtree(here)


@pytest.mark.parametrize("kind", ["pool5", "fc6", "calibrated", "without boxes"])
def test_the_file_detects_what_the_folder_detects(
    work: Work, run: Run, away: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "fc6":
        for stage in ("train-svm", "train-bbox"):
            assert run(stage, "--layer", "fc6", "--precision", "fp32", "-q")[0] == 0
    if kind == "calibrated":
        assert run("calibrate", "--folds", "2", "-q")[0] == 0
    plain = ("--no-bbox",) if kind == "without boxes" else ()
    images = sorted(away.glob("*.jpg"))
    detector = sppcli.Detector.load(".", bbox=False if plain else None, min_score=-1)
    expected = [detector.detect(image) for image in images]
    code, lines, _ = run("detect", "-j", "1", *map(str, images), *plain, "-q")
    assert code == 0
    code, out, err = run("pack", "--licence", "CC BY 4.0", *plain)
    assert code == 0
    assert out.startswith("detector.spp: a detector of 3 classes, boxes ")
    assert ("spp calibrate finds thresholds" in err) == (kind != "calibrated")
    where = str(Path.cwd())
    go(away, monkeypatch)
    packed = sppcli.Detector.load("detector.spp", min_score=-1)
    found = [packed.detect(image) for image in images]
    assert all(len(one.labels) > 3 for one in found)
    assert all(map(same, found, expected))
    assert run("detect", "-j", "1", "--model", "detector.spp", *(image.name for image in images), "-q")[1] == lines
    content = Path("detector.spp").read_bytes()
    assert where.encode() not in content
    assert str(work.voc.root).encode() not in content
    described = json.loads(run("info", "--json", "detector.spp")[1])["files"][0]
    assert described["kind"] == "packed detector"
    assert described["facts"]["classes"] == list(detector.classes)
    assert described["facts"]["licence"] == "CC BY 4.0"
    assert described["config"]["layer"] == ("fc6" if kind == "fc6" else "pool5")
    assert "a detector to hand over" in run("info")[1]


def test_two_networks_in_one_file(work: Work, run: Run, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_network(Path("other.safetensors"), seed=3)
    for name, weights in (("a", "net.safetensors"), ("b", "other.safetensors")):
        Path(name).mkdir()
        features = ("--features", f"{name}/features.h5")
        extract = ("extract", "--weights", weights, "--scales", "96", "--precision", "fp32", "-q")
        assert run(*extract, "-o", features[1])[0] == 0
        assert run("train-svm", *features, "-o", f"{name}/svm.h5", "-q")[0] == 0
    images = sorted(away.glob("*.jpg"))
    expected = [sppcli.Detector.load("a", "b").detect(image) for image in images]
    assert run("pack", "--model", "a", "--model", "b", "-o", "both.spp", "-q")[0] == 0
    go(away, monkeypatch, "both.spp")
    assert all(map(same, (sppcli.Detector.load("both.spp").detect(image) for image in images), expected))


def test_a_network_of_train_detector(work: Work, run: Run, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ("--weights", "net.safetensors", "--precision", "fp32", "--channels", "16", "--fc", "32", "-q")
    train = ("train-detector", *small, "--scale", "96", "--epochs", "6", "--rate", "0.003")
    assert run(*train, "--split", "train")[0] == 0
    network = ("--network", "detector.safetensors")
    assert run("calibrate", *network, "--split", "trainval", "-q")[0] == 2  # it has seen most of it
    code, out, err = run("calibrate", *network, "--json", "-q")
    assert code == 0, err
    assert json.loads(out)["split"] == "val"
    images = sorted(away.glob("*.jpg"))
    expected = [sppcli.Detector.load("detector.safetensors").detect(image) for image in images]
    assert all(one.probabilities is not None for one in expected)
    lines = run("detect", "-j", "1", *network, *map(str, images), "-q")[1]
    assert run("pack", *network, "-q")[0] == 0
    go(away, monkeypatch)
    assert all(map(same, (sppcli.Detector.load("detector.spp").detect(image) for image in images), expected))
    assert run("detect", "-j", "1", "--model", "detector.spp", *(image.name for image in images), "-q")[1] == lines
    assert "its own trunk" in run("info", "detector.spp")[1]


def test_a_torchvision_trunk_is_the_same_again() -> None:
    torch.manual_seed(0)
    network = describe("squeezenet1_0", torchvision_model("squeezenet1_0"), None, "weights.pth")
    tensors, description = packed_network(network, "pool5")
    assert "weights.pth" not in json.dumps(description)
    again = unpacked_network(tensors, json.loads(json.dumps(description)), "x.spp")
    image = torch.rand(1, 3, 64, 80)
    with torch.inference_mode():
        assert torch.equal(run_trunk(again.trunk, image), run_trunk(network.trunk, image))
    assert (again.digest, again.grid, again.normalisation) == (network.digest, network.grid, network.normalisation)


def test_every_byte_is_checked(work: Work, run: Run) -> None:
    assert run("pack", "-q")[0] == 0
    good = Path("detector.spp").read_bytes()
    for place in (20, len(good) // 2, len(good) - 3):
        changed = bytearray(good)
        changed[place] ^= 4
        Path("detector.spp").write_bytes(changed)
        code, _, err = run("detect", "--model", "detector.spp", "shapes/JPEGImages/000001.jpg", "-q")
        assert code == 3
        assert "detector.spp" in err
        assert "spp pack" in " ".join(err.split())
        assert run("info", "detector.spp", "--verify")[0] == 3
        # It is ours, and may be made again.
        assert run("pack", "-q")[0] == 0
        assert Path("detector.spp").read_bytes() == good


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (("pack", "-o", "detector.h5"), 2, "name a file ending in .spp"),
        (("pack", "--calibration", "a.h5", "--no-calibration"), 2, "exclude each other"),
        (("pack", "--svm", "gone.h5"), 3, "gone.h5: there is no such file; run spp train-svm first"),
        (("pack", "-o", "gone/a.spp"), 3, "gone"),
        (("pack", "-o", "mine.spp"), 2, "is there already and was not made by spp"),
        (("detect", "--model", "gone.spp", "x.jpg"), 3, "gone.spp"),
        (("detect", "--model", "mine.spp", "shapes/JPEGImages/000001.jpg"), 3, "mine.spp"),
        (("detect", "--model", "mine.spp"), 2, "detects in new images"),
        (("detect", "--model", "mine.spp", "--model", "mine.spp", "x.jpg"), 2, "as the only --model"),
        (("detect", "--model", "mine.spp", "--no-bbox", "x.jpg"), 2, "holds all that detects"),
        (("info", "mine.spp"), 3, "mine.spp"),
    ],
)
def test_refusals(work: Work, run: Run, command: tuple[str, ...], code: int, text: str) -> None:
    Path("mine.spp").write_text("a letter")
    found, _, err = run(*command)
    assert found == code, err
    assert text in " ".join(err.split())
    assert "Traceback" not in err


def test_paths_are_done_as_they_come(work: Work) -> None:
    """The second path is not written before the first image's detections are there, and takes no loading."""
    images = [work.voc.image(name) for name in ("000004", "000008")]
    found: list[tuple[float, Found]] = []

    class Sink:
        def begin_stream(self, classes: tuple[str, ...]) -> None:
            assert len(classes) == 3

        def add(self, one: Found) -> None:
            found.append((time.monotonic(), one))

    asked: list[float] = []

    def lines() -> Iterator[Path]:
        for number, image in enumerate(images):
            end = time.monotonic() + 120
            while len(found) < number:
                assert time.monotonic() < end, "the first image waits for the second"
                time.sleep(0.002)
            asked.append(time.monotonic())
            yield image

    summary = detect_new.run_on_stream(lines(), DetectPaths(), DetectConfig(), Sink())
    assert (summary.images, len(found)) == (2, 2)
    assert found[1][0] - asked[1] < 2.0


def test_paths_on_standard_input(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return run("detect", "-j", "1", "-", *options)

    Path("bad.jpg").write_text("no image")
    code, out, err = given("shapes/JPEGImages/000001.jpg\nbad.jpg\n\nshapes/JPEGImages/000002.jpg\n", "-q")
    assert code == 0
    assert "skipped: bad.jpg" in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert list(dict.fromkeys(row["path"] for row in rows)) == [
        "shapes/JPEGImages/000001.jpg",
        "shapes/JPEGImages/000002.jpg",
    ]
    listed = run("detect", "-j", "1", "shapes/JPEGImages/000001.jpg", "shapes/JPEGImages/000002.jpg", "-q")[1]
    assert [row["box"] for row in rows] == [json.loads(line)["box"] for line in listed.splitlines()]
    assert given("bad.jpg\n", "--strict", "-q")[0] == 3
    assert given("bad.jpg\n", "-q")[0] == 3
    code, _, err = given("", "-q")
    assert code == 3
    assert "no paths on standard input" in err
    # A folder stands for its images.
    Image.new("RGB", (90, 60)).save("shapes/JPEGImages/plain.png")
    assert len(given("shapes/JPEGImages\n", "-q")[1].splitlines()) >= len(rows)
