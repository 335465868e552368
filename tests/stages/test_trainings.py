"""Trainings through the command: threads do not change them, memory decides what they hold, errors are those found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.models import read_bbox, read_svm
from sppcli.detection import box_training, svm_training
from sppcli.detection.networks import window_reader
from sppcli.detection.split import open_split
from sppcli.features.normalise import Normaliser
from sppcli.geometry.boxes import iou
from sppcli.geometry.regression import encode
from sppcli.learn.ridge import RidgePlan
from sppcli.structures import Annotations, ImageRef, as_boxes
from tests.stages.conftest import Run, Work


@pytest.mark.parametrize("recipe", ["default", "release"])
def test_the_svms_do_not_depend_on_the_number_of_processes(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(svm_training, "cpu_threads", lambda threads=threads: threads)
        monkeypatch.setattr(svm_training, "PARALLEL_FROM", 0)
        name = f"{threads}.h5"
        assert run("train-svm", "--recipe", recipe, "--retrain-after", "80", "-o", name, "-q")[0] == 0
        found.append(read_svm(Path(name)))
    np.testing.assert_array_equal(found[0].weights, found[1].weights)
    np.testing.assert_array_equal(found[0].biases, found[1].biases)
    assert found[0].header.summary == found[1].header.summary


def test_too_little_memory_draws_objects_and_says_so(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sppcli.learn.budget.LEAST", 12)
    code, out, err = run("train-svm", "--memory", "100M", "--json", "-o", "small.h5")
    assert code == 0
    assert "objects, more than --memory has room for: 6 are drawn" in err
    rows = json.loads(out)["classes"]
    assert max(row["positives"] for row in rows) == 6
    assert all(row["positives"] + row["negatives"] <= 12 for row in rows)


@pytest.mark.parametrize("form", ["summed", "held", "drawn"])
def test_errors_of_box_regression_are_those_of_its_examples(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Found over all windows one by one, whichever way the equations are solved."""
    if form != "held":
        monkeypatch.setattr(
            box_training,
            "plan_ridge",
            lambda counts, *_: RidgePlan(
                tuple(form == "summed" for _ in counts), tuple(c if form == "summed" else min(c, 20) for c in counts)
            ),
        )
    code, out, _ = run("train-bbox", "--json", "--force")
    assert code == 0
    stored = read_bbox(Path("bbox.h5"))
    record = stored.record
    summary = json.loads(out)["classes"]
    if form == "drawn":
        assert [row["examples"] for row in summary] == [min(20, row["found"]) for row in summary]
        return
    wanted: dict[str, list[np.ndarray]] = {name: [] for name in stored.classes}
    given: dict[str, list[np.ndarray]] = {name: [] for name in stored.classes}
    with open_split(Path("proposals.h5"), Path("features.h5"), "trainval") as data:
        reader = window_reader(data.features.scales, record, None)
        normaliser = Normaliser(record.normalize, record.factor)
        for row in data.images:
            truth = data.truth(row)
            for box in np.concatenate([truth.boxes, data.windows(row)]):
                overlaps = iou(box[None], truth.boxes)[0]
                best = int(overlaps.argmax())
                if overlaps[best] >= 0.5:
                    name = truth.labels[best]
                    features = normaliser.apply(reader.features(data.maps(row), box[None]))[0]
                    k = stored.classes.index(name)
                    white = stored.weights[k] @ features + stored.biases[k]
                    given[name].append(white @ stored.unwhiten[k] + stored.means[k])
                    wanted[name].append(encode(box[None], truth.boxes[best][None])[0])
    for row in summary:
        targets, predicted = np.array(wanted[row["name"]]), np.array(given[row["name"]])
        assert row["found"] == row["examples"] == len(targets)
        assert row["error_before"] == pytest.approx(np.sqrt((targets**2).mean()), rel=1e-3)
        assert row["error_after"] == pytest.approx(np.sqrt(((targets - predicted) ** 2).mean()), rel=5e-3)
        assert row["error_after"] < row["error_before"]


def test_an_example_of_exactly_the_least_overlap_is_used_unless_it_must_be_more(work: Work, run: Run) -> None:
    """Windows that cover one half of an object each, the bound of --min-iou itself."""
    lines, halves, objects = ["image,x0,y0,x1,y1"], Counter(), Counter()
    for name in work.voc.ids:
        for thing in work.voc.things[name]:
            x0, y0, x1, y1 = thing.box
            trains = name in work.voc.splits["trainval"]
            objects[thing.label] += trains
            if (x1 - x0) % 2 == 0:
                lines.append(f"{name},{x0},{y0},{(x0 + x1) // 2},{y1}")
                halves[thing.label] += trains
    Path("halves.csv").write_text("\n".join(lines) + "\n")
    assert run("propose", "shapes", "--import", "halves.csv", "-q", "-o", "p.h5")[0] == 0
    options = ("--proposals", "p.h5", "--features", "f.h5")
    network = ("--weights", "net.safetensors", "--scales", "96", "--precision", "fp32")
    assert run("extract", "--proposals", "p.h5", *network, "-q", "-o", "f.h5")[0] == 0
    found = {}
    for flag in ("--no-strict-iou", "--strict-iou"):
        code, out, err = run("train-bbox", *options, "--min-iou", "0.5", flag, "--json", "-o", "half.h5")
        assert code == 0, err
        found[flag] = {row["name"]: row["found"] for row in json.loads(out)["classes"]}
    assert sum(halves.values()) > 5
    assert found == {"--no-strict-iou": dict(objects + halves), "--strict-iou": dict(objects)}


class OneImage:
    """An image of one class whose boxes are given: objects first, then region proposals."""

    images = (ImageRef(0),)

    def __init__(self, objects: list[list[float]], proposals: list[list[float]]) -> None:
        self.boxes = as_boxes([*objects, *proposals])
        self.objects = len(objects)

    def truth(self, image: ImageRef) -> Annotations:
        return Annotations(self.boxes[: self.objects], ("ant",) * self.objects, np.zeros(self.objects, bool))

    def objects_and_windows(self, image: ImageRef) -> np.ndarray:
        return self.boxes


@pytest.mark.parametrize(("convention", "examples"), [("half-open", [0, 1, 2, 3]), ("inclusive", [1, 3])])
def test_boxes_of_one_pixel_have_no_inclusive_width(convention: str, examples: list[int]) -> None:
    """Neither as a window nor as an object: the logarithm of their width is not finite."""
    one = OneImage([[5, 0, 6, 20], [30, 0, 50, 20]], [[5, 0, 7, 20], [30, 0, 51, 20], [70, 0, 71, 20]])
    found = box_training.FoundExamples(one, ("ant",), box_training.TrainBboxConfig(box_width=convention))  # type: ignore[arg-type]
    (image,) = found.passing(found.counts)
    np.testing.assert_array_equal(image.boxes, one.boxes[examples])
    assert np.isfinite(image.targets).all()
