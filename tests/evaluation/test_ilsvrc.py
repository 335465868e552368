"""ILSVRC's matching beside a version in plain loops, and its localisation error by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.evaluation.ilsvrc import evaluate_ilsvrc, thresholds
from sppcli.evaluation.localisation import Localisations, localisation_error
from sppcli.evaluation.voc_ap import evaluate_voc
from sppcli.structures import Annotations, Detections, as_boxes

CLASSES = ("ant", "bee")


def truth_of(*objects: tuple[str, tuple[float, ...]]) -> Annotations:
    return Annotations(
        as_boxes([box for _, box in objects]),
        tuple(name for name, _ in objects),
        np.zeros(len(objects), dtype=np.bool_),
    )


def found(*rows: tuple[str, str, tuple[float, ...], float], images: tuple[str, ...] = ("a", "b", "c")) -> Detections:
    return Detections(
        images,
        CLASSES,
        np.array([images.index(row[0]) for row in rows], dtype=np.int64),
        np.array([CLASSES.index(row[1]) for row in rows], dtype=np.int64),
        as_boxes([row[2] for row in rows]),
        np.array([row[3] for row in rows], dtype=np.float32),
    )


def slow_ap(detections: Detections, truth: dict[str, Annotations], name: str, blacklist: set) -> float | None:
    """The development kit's steps, one by one, in inclusive coordinates."""
    objects = {
        image: [
            [*box[:2], box[2] - 1, box[3] - 1]
            for box, label in zip(t.boxes.tolist(), t.labels, strict=True)
            if label == name
        ]
        for image, t in truth.items()
        if (image, name) not in blacklist
    }
    total = sum(map(len, objects.values()))
    if not total:
        return None
    taken = {image: [False] * len(boxes) for image, boxes in objects.items()}
    order = sorted(range(len(detections.scores)), key=lambda i: -float(detections.scores[i]))
    hits, rows = 0, []
    for i in order:
        image = detections.image_ids[detections.image[i]]
        if detections.classes[detections.label[i]] != name or image not in objects:
            continue
        x0, y0, x1, y1 = detections.boxes[i].tolist()
        x1, y1 = x1 - 1, y1 - 1
        best, chosen = -1.0, None
        for k, (a, b, c, d) in enumerate(objects[image]):
            w, h = min(x1, c) - max(x0, a) + 1, min(y1, d) - max(y0, b) + 1
            gw, gh = c - a + 1, d - b + 1
            if taken[image][k]:
                continue
            inter = w * h if w > 0 and h > 0 else 0
            overlap = inter / ((x1 - x0 + 1) * (y1 - y0 + 1) + gw * gh - inter)
            if overlap >= min(0.5, gw * gh / ((gw + 10) * (gh + 10))) and overlap > best:
                best, chosen = overlap, k
        if chosen is not None:
            taken[image][chosen] = True
            hits += 1
        rows.append((hits, len(rows) + 1))
    area, previous = 0.0, 0.0
    for i, (hit, _) in enumerate(rows):
        recall = hit / total
        area += (recall - previous) * max(h / n for h, n in rows[i:])
        previous = recall
    return area


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_the_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def box(near: tuple[int, ...] | None = None) -> tuple[int, ...]:
        x0, y0 = rng.integers(0, 60, 2).tolist()
        w, h = rng.integers(2, 60, 2).tolist()
        drawn = (x0, y0, x0 + w, y0 + h)
        if near is None:
            return drawn
        moved = [value + int(rng.integers(-4, 5)) for value in near]
        return (moved[0], moved[1], max(moved[2], moved[0] + 1), max(moved[3], moved[1] + 1))

    truth = {
        image: truth_of(*((CLASSES[rng.integers(2)], box()) for _ in range(rng.integers(0, 5))))
        for image in ("a", "b", "c")
    }
    rows = []
    for image in ("a", "b", "c"):
        near = [tuple(map(int, one)) for one in truth[image].boxes]
        for one in (*near, *near[:2], None):
            rows.append((image, CLASSES[rng.integers(2)], box(one), float(rng.random())))
    detections = found(*rows)
    blacklist = {("b", "ant")} if rng.random() < 0.5 else set()
    result = evaluate_ilsvrc(detections, truth, CLASSES, blacklist)
    for name in CLASSES:
        expected = slow_ap(detections, truth, name, blacklist)
        assert result.ap[name] == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_small_objects_may_be_missed_by_five_pixels() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [0, 0, 1000, 1000], [0, 0, 20, 5], [0, 0, 25, 25]])
    assert thresholds(boxes).tolist() == pytest.approx([0.25, 0.5, 100 / 450, 0.5])
    small, shifted = (50, 50, 60, 60), (55, 50, 65, 60)  # IoU 1/3
    result = evaluate_ilsvrc(found(("a", "ant", shifted, 1)), {"a": truth_of(("ant", small))}, CLASSES)
    assert (result.ap["ant"], result.ap["bee"], result.mAP) == (1, None, 1)
    assert evaluate_voc(found(("a", "ant", shifted, 1)), {"a": truth_of(("ant", small))}, CLASSES).ap["ant"] == 0


def test_a_second_detection_takes_the_other_object() -> None:
    """Where VOC counts a miss, since the object overlapped most is taken."""
    first, second = (0, 0, 100, 100), (0, 20, 100, 120)
    detections = found(("a", "ant", (0, 5, 100, 105), 0.9), ("a", "ant", (0, 6, 100, 106), 0.8))
    truth = {"a": truth_of(("ant", first), ("ant", second))}
    assert evaluate_ilsvrc(detections, truth, CLASSES).max_recall["ant"] == 1
    assert evaluate_voc(detections, truth, CLASSES).max_recall["ant"] == 0.5


def test_blacklisted_pairs_do_not_count() -> None:
    truth = {"a": truth_of(("ant", (0, 0, 50, 50))), "b": truth_of(("ant", (0, 0, 50, 50)))}
    detections = found(("a", "ant", (0, 0, 50, 50), 0.5), ("b", "ant", (60, 60, 90, 90), 0.9))
    assert evaluate_ilsvrc(detections, truth, CLASSES).ap["ant"] == 0.25
    result = evaluate_ilsvrc(detections, truth, CLASSES, [("b", "ant")])
    assert (result.ap["ant"], result.npos["ant"], result.n_detections["ant"]) == (1, 1, 1)


def localisations(*rows: tuple[str, tuple[float, ...]]) -> Localisations:
    return Localisations(tuple(name for name, _ in rows), as_boxes([box for _, box in rows]))


def test_localisation_error_by_hand() -> None:
    box, half, less = (0, 0, 100, 100), (0, 0, 100, 50), (0, 0, 100, 49)
    truth = {name: truth_of(("ant", (200, 200, 300, 300)), ("ant", box)) for name in "abcdef"}
    truth["empty"] = truth_of()
    result = localisation_error(
        {
            "a": localisations(("ant", half)),  # IoU 0.5 of the second object: right
            "b": localisations(("ant", less)),  # class right, box not
            "c": localisations(("bee", box), ("bee", box), ("bee", box), ("bee", box), ("ant", box)),  # the fifth
            "d": localisations(("bee", box)),
            "e": localisations(("ant", less), ("ant", box)),
            "elsewhere": localisations(("ant", box)),
        },
        truth,
    )
    assert (result.images, result.without_localisation) == (6, 1)
    errors = (result.top1, result.top5, result.class_top1, result.class_top5)
    assert errors == pytest.approx((5 / 6, 3 / 6, 3 / 6, 2 / 6))
    with pytest.raises(ValueError, match="no image"):
        localisation_error({}, {"empty": truth_of()})
    with pytest.raises(ValueError, match="more than 5"):
        localisations(*[("ant", box)] * 6)
