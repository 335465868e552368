"""``spp extract``: maps are those of the network, what is interrupted goes on, and what changed is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts.features import open_features
from sppcli.features import conv_maps as maps
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
    code, _, err = run("extract", "--force")
    assert code == 3
    said = [line for line in err.splitlines() if line]
    assert len(said) == 1
    assert said[0].startswith("spp extract: error: ")
    assert "alexnet" in said[0]
    assert "--weights FILE" in said[0]
