"""Files that released versions wrote, kept in tests/released: still read, to the value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sppcli.artefacts.calibration import read_calibration
from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.features import open_features
from sppcli.artefacts.image_features import read_image_features
from sppcli.artefacts.models import read_bbox, read_svm
from sppcli.artefacts.proposals import read_proposals
from sppcli.artefacts.schema import SCHEMAS
from sppcli.nets.detector import load_detector
from sppcli.nets.weights import load_network, read_classifier
from tests.conftest import SHAPES, Run

FOLDER = Path(__file__).parents[1] / "released"


def test_there_is_a_file_of_each_schema_version() -> None:
    wanted = {f"{kind}-{version}.h5" for kind, schema in SCHEMAS.items() for version in range(1, schema.version + 1)}
    assert {path.name for path in FOLDER.glob("*.h5")} == wanted


@pytest.mark.parametrize(
    "name", sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".h5", ".safetensors"))
)
def test_described_and_whole(run: Run, name: str) -> None:
    code, out, err = run("info", str(FOLDER / name), "--verify")
    assert code == 0, err
    assert name in out


def test_values_of_version_1() -> None:
    proposals = read_proposals(FOLDER / "proposals-1.h5")
    ids = tuple(f"{number:06d}" for number in range(1, 9))
    assert proposals.images.ids == ids
    assert proposals.images.sizes.tolist() == [[96, 128]] * 8
    assert proposals.offsets[-1] == len(proposals.boxes) == len(proposals.scores)
    with open_features(FOLDER / "features-1.h5") as features:
        features.check_proposals(proposals)
        assert features.scales == (64,)
        maps = features.maps(0).read(0)
        assert (maps.dtype, maps.shape[2]) == (np.float16, 4)
        assert maps.any()
        digest = features.network.digest
    svm, bbox = read_svm(FOLDER / "svm-1.h5"), read_bbox(FOLDER / "bbox-1.h5")
    assert svm.classes == bbox.classes == tuple(sorted(SHAPES))
    assert svm.weights.shape == (3, 4 * (2 * 2 + 1))
    assert svm.record.network.digest == bbox.record.network.digest == digest
    known = read_calibration(FOLDER / "calibration-1.h5")
    assert known.calibration.classes == svm.classes
    assert known.aim == "f1"
    assert np.isfinite(known.calibration.thresholds).any()
    assert (np.diff(known.calibration.maps[0](np.linspace(-3, 3, 9))) >= 0).all()
    found = read_detections(FOLDER / "detections-1.h5")
    assert set(found.detections.image_ids) <= set(ids)
    assert len(found.detections.scores)
    vectors = read_image_features(FOLDER / "image-features-1.h5")
    assert vectors.images.ids == ids
    assert vectors.vectors.shape == (8, 20)
    detector, settings, _ = load_detector(FOLDER / "detector-1.safetensors")
    assert detector.architecture.classes == tuple(sorted(SHAPES))
    assert settings["scale"] == 64
    path = FOLDER / "network-1.safetensors"
    assert load_network(str(path)).digest == digest
    torch.manual_seed(0)
    assert read_classifier(path).architecture.classes == SHAPES
