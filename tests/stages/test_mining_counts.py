"""A window is one negative, whether it came at random or was mined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.models import read_svm
from sppcli.detection.networks import window_reader
from sppcli.detection.split import open_split
from sppcli.geometry.boxes import iou
from tests.stages.conftest import Run, Work

EVERY = ("--hard-score", "-1e9", "--evict-score", "-1e9", "--duplicate-iou", "1")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("mining", ["rounds", "single-pass"])
def test_a_pass_that_takes_every_negative_ends_with_each_once(work: Work, run: Run, mining: str, flip: bool) -> None:
    if flip:
        assert run("extract", "--weights", "net.safetensors", "--scales", "48,64,96", "--flip", "-q")[0] == 0
    options = (*EVERY, "--mining", mining, *(["--flip"] if flip else []))
    code, out, _ = run("train-svm", *options, "--json", "-o", "every.h5")
    assert code == 0
    svm = read_svm(Path("every.h5"))
    wanted = dict.fromkeys(svm.classes, 0)
    positives = dict.fromkeys(svm.classes, 0)
    with open_split(Path("proposals.h5"), Path("features.h5"), "trainval") as plain:
        data = plain.with_mirrors() if flip else plain
        reader = window_reader(data.features.scales, svm.record, None)
        for image in data.images:
            truth = data.truth(image)
            boxes = np.concatenate([truth.boxes, data.windows(image)])
            seen = set()
            for box, key in zip(boxes, reader.keys(data.maps(image), boxes).tolist(), strict=True):
                if tuple(key) in seen:
                    continue
                seen.add(tuple(key))
                for name in svm.classes:
                    mine = truth.boxes[truth.of_class(name)]
                    wanted[name] += not (len(mine) and iou(box[None], mine).max() >= 0.3)
            for label in truth.labels:
                positives[label] += 1
    for row in json.loads(out)["classes"]:
        assert row["negatives"] == wanted[row["name"]]
        assert row["positives"] == positives[row["name"]]
        assert row["dropped"] == 0
