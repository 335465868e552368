"""Mirror images and jittered windows: what is stored, what is learnt from, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.cli.main import main
from sppcli.detection.split import open_split
from sppcli.features.conv_maps import Extractor
from sppcli.geometry.boxes import iou, jittered
from sppcli.images import read_image
from sppcli.nets.weights import load_network
from tests.stages.conftest import SCALES, Work


@pytest.fixture(scope="module")
def mirrored(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    for name in ("proposals.h5", "net.safetensors"):
        shutil.copy(trained.folder / name, folder / name)
    options = ["--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "--flip", "-q"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["extract", *options]) == 0
    return folder


def test_a_mirrored_row_is_the_mirrored_image(mirrored: Path) -> None:
    network = load_network(str(mirrored / "net.safetensors"))
    with open_split(mirrored / "proposals.h5", mirrored / "features.h5", "trainval") as plain:
        data = plain.with_mirrors()
        assert len(data.images) == 2 * len(plain.images)
        row = plain.images[2]
        assert data.image_id(row.mirror) == plain.image_id(row)
        image = read_image(Path(plain.dataset.root) / "JPEGImages" / f"{plain.image_id(row)}.jpg")
        width = image.shape[1]
        extractor = Extractor(network, torch.device("cpu"), "fp32")
        for index, scale in enumerate(data.features.scales):
            expected = extractor(np.ascontiguousarray(image[:, ::-1]), scale)
            np.testing.assert_allclose(data.maps(row.mirror).read(index), expected.astype(np.float32), atol=2e-3)
            assert not np.array_equal(data.maps(row).read(index), expected)
        for mine, theirs in (
            (data.windows(row.mirror), plain.windows(row)),
            (data.truth(row.mirror).boxes, plain.truth(row).boxes),
        ):
            np.testing.assert_allclose(mine[:, [0, 2]], width - theirs[:, [2, 0]])
            np.testing.assert_array_equal(mine[:, [1, 3]], theirs[:, [1, 3]])
        assert data.truth(row.mirror).labels == plain.truth(row).labels


def positives(capsys: pytest.CaptureFixture[str], options: list[str]) -> dict[str, int]:
    capsys.readouterr()
    assert main(["train-svm", "-q", "--json", *options]) == 0
    return {row["name"]: row["positives"] for row in json.loads(capsys.readouterr().out)["classes"]}


def test_trainings_learn_from_mirror_images(
    mirrored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mirrored)
    plain = positives(capsys, [])
    assert positives(capsys, ["--flip"]) == {name: 2 * count for name, count in plain.items()}
    assert positives(capsys, ["--jitter", "3"]) == {name: 4 * count for name, count in plain.items()}
    assert positives(capsys, ["--flip", "--jitter", "1"]) == {name: 4 * count for name, count in plain.items()}
    assert main(["train-bbox", "--flip", "-q"]) == 0
    windows = []
    for options in ([], ["--flip"]):
        capsys.readouterr()
        assert main(["finetune", "--iterations", "20", "-q", "--json", *options]) == 0
        windows.append(json.loads(capsys.readouterr().out)["foreground"])
    # A box of half an object may lie on either side of 0.5 by rounding.
    assert windows[1] == pytest.approx(2 * windows[0], abs=2)
    capsys.readouterr()
    assert main(["evaluate", "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mAP"] > 0.7


def test_without_mirror_images_it_is_said(
    trained: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained.folder)
    for command in ("train-svm", "train-bbox", "finetune"):
        assert main([command, "--flip", "-q", "-o", f"none-{command}"]) == 2
        assert "features.h5 holds no mirror images; run spp extract --flip first" in capsys.readouterr().err


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 8), st.integers(0, 5), st.integers(0, 99))
def test_jittered_boxes_stay_near_and_inside(boxes: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 80, size=(boxes, 2))
    own = np.concatenate([start, start + rng.uniform(2, 40, size=(boxes, 2))], axis=1).clip(0, 100).astype(np.float32)
    near = jittered(own, count, 100, 100, np.random.default_rng(seed))
    assert near.shape == (boxes * count, 4)
    assert near.dtype == np.float32
    for i in range(boxes):
        mine = near[i * count : (i + 1) * count]
        assert (iou(mine, own[i : i + 1]) >= 0.7 - 1e-6).all()
        assert (mine >= 0).all()
        assert (mine <= 100).all()
    if boxes and count:
        assert not np.array_equal(near, np.repeat(own, count, axis=0))
