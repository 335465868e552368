"""``spp extract``: maps are those of the network, what is interrupted goes on, and what changed is named."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts import parts
from sppcli.artefacts.features import open_features
from sppcli.artefacts.parts import Moving
from sppcli.artefacts.store import digest_of
from sppcli.features import conv_maps as maps
from sppcli.paper import DEFAULT, PAPER, RELEASE
from sppcli.stages import features
from sppcli.structures import FloatArray
from tests.stages.conftest import SCALES, Run, Work


def test_an_interrupted_extraction_goes_on_and_ends_the_same(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = maps.Extractor.batch
    calls = {"count": 0}

    def stopping(self: maps.Extractor, *arguments: Any) -> list[FloatArray]:
        calls["count"] += 1
        if calls["count"] == 5:
            raise KeyboardInterrupt
        return plain(self, *arguments)

    options = ("--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "-o", "again.h5")
    monkeypatch.setattr(maps.Extractor, "batch", stopping)
    assert run("extract", *options)[0] == 130
    assert not Path("again.h5").exists()
    monkeypatch.setattr(maps.Extractor, "batch", plain)
    code, out, _ = run("extract", *options, "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["extracted"] < 16
    assert summary["kept"] >= 3
    assert run("extract", *options[:-1], "whole.h5", "-q")[0] == 0
    assert Path("again.h5").read_bytes() == Path("whole.h5").read_bytes()


def test_an_extraction_stopped_while_its_parts_are_moved_goes_on_and_ends_the_same(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "-o", "again.h5")
    take, taken = Moving.take, []

    def stopping(self: Moving, name: str, *arguments: Any, **named: Any) -> None:
        taken.append(name)
        if len(taken) == 9:
            raise KeyboardInterrupt
        take(self, name, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "_MOVED_AT_ONCE", 3000)
        patch.setattr(Moving, "take", stopping)
        assert run("extract", *options)[0] == 130
    assert not Path("again.h5").exists()
    left = {path.suffix for path in Path("again.h5.parts").iterdir()}
    assert {".h5", ".moved"} <= left
    assert "16 parts" in run("info", "again.h5")[1]
    code, out, _ = run("extract", *options, "--json")
    assert code == 0
    summary = json.loads(out)
    assert (summary["extracted"], summary["kept"]) == (0, 16)
    assert not Path("again.h5.parts").exists()
    assert run("extract", *options[:-1], "whole.h5", "-q")[0] == 0
    assert Path("again.h5").read_bytes() == Path("whole.h5").read_bytes()


EXTRACT = ("extract", "--weights", "net.safetensors", "--scales", "96", "--precision", "fp32")
MAKING = {
    "propose": ("propose", "shapes", "-j", "1"),
    "extract": EXTRACT,
    "features": ("features", "shapes", "--weights", "net.safetensors", "--side", "48"),
}


@pytest.mark.parametrize("stage", MAKING)
def test_nothing_stays_behind_of_a_run_killed_in_its_last_moment(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The file has its name, its parts are still there: the next run, which has nothing to do, removes them."""
    if stage == "features":
        monkeypatch.setattr(features, "_VECTORS_A_PART", 5)
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "discard", lambda self: None)
        assert run(*MAKING[stage], "-o", "new.h5", "-q")[0] == 0
    assert len(list(Path("new.h5.parts").iterdir())) >= 2
    code, out, _ = run(*MAKING[stage], "-o", "new.h5")
    assert code == 0
    assert "up to date" in out
    assert not Path("new.h5.parts").exists()


def test_parts_of_other_images_stay(work: Work, run: Run) -> None:
    """They are worth something to a run over those."""
    assert run(*EXTRACT, "-o", "new.h5", "-q")[0] == 0
    with open_features(Path("new.h5")) as found:
        unfinished = parts.Parts(Path("new.h5"), digest_of(found.header.config))
    with unfinished.create("another image") as part:
        part.array("maps/96/000000", np.zeros((2, 2, 24), np.float16), compress=True)
    assert run(*EXTRACT, "-o", "new.h5", "-q")[0] == 0
    assert unfinished.names() == ["another image"]


def test_maps_are_those_of_the_network_on_the_resized_image(work: Work) -> None:
    import torch

    from sppcli.images import read_image, resize, size_at
    from sppcli.nets.weights import read_classifier

    model = read_classifier(Path("net.safetensors"))
    with open_features(Path("features.h5")) as features:
        image = read_image(features.images.absolute(features.root, 2))
        height, width = size_at(*image.shape[:2], 160)
        pixels = resize(image, height, width).astype(np.float32) / 255
        tensor = torch.from_numpy((pixels - 0.5) / 0.25).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = model.trunk(tensor)[0].permute(1, 2, 0).numpy()
        stored = features.maps(2).read(1)
    assert stored.shape == expected.shape
    assert np.abs(stored - expected).max() <= 2e-3 * max(1, np.abs(expected).max())  # float16 keeps 11 bits


def test_an_image_that_changed_since_propose_is_skipped_by_name(work: Work, run: Run) -> None:
    assert run("propose", "shapes", "-q")[0] == 0
    Image.open("shapes/JPEGImages/000003.jpg").rotate(180).save("shapes/JPEGImages/000003.jpg")
    code, out, err = run("extract", "--weights", "net.safetensors", "--scales", "96", "-o", "f.h5")
    assert code == 0
    assert "000003.jpg has changed" in err
    assert "1 skipped" in out


def test_without_weights_one_sentence_says_how_to_get_them(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.error
    import urllib.request

    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(work.folder / "torch-home"))
    code, _, err = run("extract", "--force", "--recipe", "paper")
    assert code == 3
    said = [line for line in err.splitlines() if line]
    assert len(said) == 1
    assert said[0].startswith("spp extract: error: ")
    assert "alexnet" in said[0]
    assert "efficientnet_lite0" in said[0]
    assert "--weights FILE" in said[0]


def test_without_options_the_default_backbone_needs_no_network(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From maps to a new image's detections; what is recorded names the backbone."""
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert run("extract", "--scales", "96", "-o", "lite.h5", "-q")[0] == 0
    with open_features(Path("lite.h5")) as features:
        assert features.network.backbone == DEFAULT.backbone == "efficientnet_lite0"
        assert features.header.source["network"]["backbone"] == "efficientnet_lite0"
    assert run("train-svm", "--features", "lite.h5", "--pyramid", "1", "-o", "lite-svm.h5", "-q")[0] == 0
    image = next(Path("shapes/JPEGImages").glob("*.jpg"))
    code, _, err = run("detect", "--svm", "lite-svm.h5", "--no-bbox", str(image), "-o", "new.jsonl")
    assert code == 0, err
    assert PAPER.backbone == RELEASE.backbone == "alexnet"
