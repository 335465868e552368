"""AP: the devkit's own numbers, an independent slow loop, and small cases worked out by hand."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.errors import UsageProblem
from sppcli.evaluation import voc_ap
from sppcli.evaluation.voc_ap import ap_11point, ap_area, evaluate_voc, grouped, match_detections, precision_recall
from sppcli.structures import Annotations, Detections, as_boxes

GOLDEN = Path(__file__).parents[1] / "golden" / "voc_synthetic.npz"
WITHOUT_GROUND_TRUTH = {"nogt", "alldiff"}
HALF_OPEN = np.array([1, 1, 0, 0])  # VOC corners minus this

EXACT_POINTS = [Fraction(k, 10) for k in range(11)]
MATLAB_POINTS = [0.0, 0.1, 0.2, 0.1 * 3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
OCTAVE_POINTS = [k * 0.1 for k in range(11)]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden_input(golden):
    ids = tuple(map(str, golden["image_ids"]))
    classes = tuple(map(str, golden["class_names"]))
    gt, det = golden["gt"], golden["det"]
    annotations = {}
    for number, image_id in enumerate(ids):
        rows = gt[gt[:, 0] == number]
        labels = tuple(classes[int(label)] for label in rows[:, 1])
        annotations[image_id] = Annotations(as_boxes(rows[:, 2:6] - HALF_OPEN), labels, rows[:, 6].astype(bool))
    detections = Detections(
        ids,
        classes,
        det[:, 0].astype(np.int64),
        det[:, 1].astype(np.int64),
        as_boxes(det[:, 3:7] - HALF_OPEN),
        det[:, 2].astype(np.float32),
    )
    return detections, annotations, classes


# --- the slow loop: one detection at a time, no numpy tricks, rational numbers where the points matter


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def slow_matching(detections, truth, iou):
    """``detections``: (image, score, box); ``truth``: (image, box, difficult). Returns tp, fp lists."""
    taken = [False] * len(truth)
    tp, fp = [], []
    for image, _, box in sorted(detections, key=lambda row: -row[1]):
        best, overlap = -1, -np.inf
        for number, (gt_image, gt_box, _) in enumerate(truth):
            if gt_image == image and slow_iou(box, gt_box) > max(overlap, 0.0):
                best, overlap = number, slow_iou(box, gt_box)
        hit = miss = False
        if best >= 0 and overlap >= iou:
            if not truth[best][2]:
                hit, miss = not taken[best], taken[best]
                taken[best] = True
        else:
            miss = True
        tp.append(hit)
        fp.append(miss)
    return tp, fp


def slow_ap11(tp, fp, npos, points):
    total = Fraction(0)
    for point in points:
        best = Fraction(0)
        for end in range(1, len(tp) + 1):
            hits, counted = sum(tp[:end]), sum(tp[:end]) + sum(fp[:end])
            recall = Fraction(hits, npos) if isinstance(point, Fraction) else hits / npos
            if counted and recall >= point:
                best = max(best, Fraction(hits, counted))
        total += best
    return float(total / len(points))


def slow_area(tp, fp, npos):
    """Sum over hits of 1/npos times the best precision from that hit on."""
    total = Fraction(0)
    for number, hit in enumerate(tp):
        if hit:
            later = [
                Fraction(sum(tp[:end]), sum(tp[:end]) + sum(fp[:end]))
                for end in range(number + 1, len(tp) + 1)
                if sum(tp[:end]) + sum(fp[:end])
            ]
            total += max(later) / npos
    return float(total)


# --- the devkit's numbers


def test_golden_ap11_with_exact_points(golden, golden_input):
    detections, annotations, classes = golden_input
    result = evaluate_voc(detections, annotations, classes, "voc2007")
    for name, expected in zip(classes, golden["ap11_matlab_grid"], strict=True):
        if name in WITHOUT_GROUND_TRUTH:
            assert expected == 0
            assert result.ap[name] is None
        elif name == "cc":  # 12 of 40 hits are a recall of exactly 3/10, which MATLAB's grid misses
            assert result.ap[name] == pytest.approx(expected + 0.00093, abs=1e-5)
        else:
            assert result.ap[name] == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize(("array", "points"), [("ap11_matlab_grid", MATLAB_POINTS), ("ap11_octave", OCTAVE_POINTS)])
def test_golden_ap11_from_our_matching_on_the_floating_grids(golden, golden_input, array, points):
    detections, annotations, classes = golden_input
    for number, (name, flags) in enumerate(matched_by_class(detections, annotations, classes).items()):
        npos = int(golden["npos"][number])
        if npos:
            assert slow_ap11(*flags, npos, points) == pytest.approx(golden[array][number], abs=1e-12), name
            ours = ap_11point(*map(np.array, flags), npos)
            assert ours == pytest.approx(slow_ap11(*flags, npos, EXACT_POINTS), abs=1e-12), name


def test_golden_area(golden, golden_input):
    detections, annotations, classes = golden_input
    result = evaluate_voc(detections, annotations, classes, "voc2010")
    for name, expected in zip(classes, golden["auc_octave"], strict=True):
        if name in WITHOUT_GROUND_TRUTH:
            assert np.isnan(expected)
            assert result.ap[name] is None
        else:
            assert result.ap[name] == pytest.approx(expected, abs=1e-12), name


def test_golden_curves_and_counts(golden, golden_input):
    detections, annotations, classes = golden_input
    result = evaluate_voc(detections, annotations, classes)
    for number, name in enumerate(classes):
        part = slice(golden["rec_offset"][number], golden["rec_offset"][number + 1])
        assert result.npos[name] == golden["npos"][number]
        assert result.n_detections[name] == part.stop - part.start
        np.testing.assert_array_equal(result.recall[name], golden["rec"][part])
        np.testing.assert_array_equal(result.precision[name], golden["prec"][part])
        if name in WITHOUT_GROUND_TRUTH:
            assert result.max_recall[name] is None
        else:
            assert result.max_recall[name] == golden["rec"][part].max(initial=0)
    assert result.mAP == pytest.approx(np.mean([result.ap[c] for c in classes if c not in WITHOUT_GROUND_TRUTH]))


def test_golden_needs_the_inclusive_threshold(golden, golden_input):
    """Class cb has detections at an IoU of exactly 0.5; above it only, the AP is the other port's."""
    detections, annotations, _ = golden_input
    strict = evaluate_voc(detections, annotations, ["cb"], "voc2007", np.nextafter(0.5, 1)).ap["cb"]
    assert strict == pytest.approx(golden["ap11_voc_eval"][1], abs=1e-12)
    assert strict != pytest.approx(golden["ap11_matlab_grid"][1], abs=1e-3)


def matched_by_class(detections, annotations, classes):
    found = {}
    truth = [(number, annotation) for number, annotation in enumerate(annotations.values())]
    for name in classes:
        rows = detections.label == detections.classes.index(name)
        boxes = [box for _, a in truth for box in a.boxes[a.of_class(name)]]
        image = [number for number, a in truth for _ in a.boxes[a.of_class(name)]]
        difficult = [flag for _, a in truth for flag in a.difficult[a.of_class(name)]]
        matches = match_detections(
            detections.boxes[rows],
            detections.image[rows],
            detections.scores[rows],
            as_boxes(boxes),
            np.array(image, dtype=np.int64),
            np.array(difficult, dtype=bool),
        )
        found[name] = (matches.tp.tolist(), matches.fp.tolist())
    return found


# --- against the slow loop

small_boxes = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
found_rows = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.2, 0.3, 0.4]), small_boxes), max_size=25)
truth_rows = st.lists(st.tuples(st.integers(0, 2), small_boxes, st.booleans()), max_size=12)


@settings(deadline=None, max_examples=300)
@given(
    found=found_rows, truth=truth_rows, iou=st.sampled_from([0.25, 0.5, 0.7]), pairs=st.sampled_from([1, 4, 1 << 20])
)
def test_equals_the_slow_loop(found, truth, iou, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voc_ap, "_PAIRS_AT_ONCE", pairs)
        matches = match_detections(
            as_boxes([box for _, _, box in found]),
            np.array([image for image, _, _ in found], dtype=np.int64),
            np.array([score for _, score, _ in found], dtype=np.float32),
            as_boxes([box for _, box, _ in truth]),
            np.array([image for image, _, _ in truth], dtype=np.int64),
            np.array([difficult for _, _, difficult in truth], dtype=bool),
            iou,
        )
    tp, fp = slow_matching(found, truth, iou)
    assert matches.tp.tolist() == tp
    assert matches.fp.tolist() == fp
    npos = sum(not difficult for _, _, difficult in truth)
    if npos:
        assert ap_11point(matches.tp, matches.fp, npos) == pytest.approx(
            slow_ap11(tp, fp, npos, EXACT_POINTS), abs=1e-12
        )
        assert ap_area(matches.tp, matches.fp, npos) == pytest.approx(slow_area(tp, fp, npos), abs=1e-12)


# --- by hand


def flags(text):
    """ "+" hit, "-" miss, "." neither."""
    return np.array([c == "+" for c in text], dtype=bool), np.array([c == "-" for c in text], dtype=bool)


@pytest.mark.parametrize("hits", range(11))
def test_a_recall_of_exactly_k_tenths_reaches_its_point(hits):
    for npos in (10, 30, 70):
        found = "+" * (hits * npos // 10)
        assert ap_11point(*flags(found), npos) == pytest.approx((hits + 1 if hits else 0) / 11, abs=1e-15)


def test_curves_by_hand():
    recall, precision = precision_recall(*flags(".+-.+"), 4)
    np.testing.assert_array_equal(recall, [0, 0.25, 0.25, 0.25, 0.5])
    np.testing.assert_array_equal(precision, [np.nan, 1, 0.5, 0.5, 2 / 3])
    # points 0, .1, .2 at precision 1; .3, .4, .5 at 2/3; the rest at 0
    assert ap_11point(*flags(".+-.+"), 4) == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert ap_area(*flags(".+-.+"), 4) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)


@pytest.mark.parametrize("ap", [ap_11point, ap_area])
def test_ap_at_the_ends(ap):
    assert ap(*flags(""), 3) == 0
    assert ap(*flags("---"), 3) == 0
    assert ap(*flags(".."), 3) == 0
    assert ap(*flags("+++"), 3) == pytest.approx(1)
    with pytest.raises(ValueError, match="without ground truth"):
        ap(*flags("--"), 0)


def match(found, truth, iou=0.5):
    return match_detections(
        as_boxes([row[:4] for row in found]),
        np.zeros(len(found), dtype=np.int64),
        np.array([row[4] for row in found]),
        as_boxes([row[:4] for row in truth]),
        np.zeros(len(truth), dtype=np.int64),
        np.array([row[4] for row in truth], dtype=bool),
        iou,
    )


def test_second_detection_of_a_box_is_a_miss_even_if_another_box_is_free():
    truth = [(0, 0, 10, 10, 0), (0, 0, 10, 12, 0)]
    matches = match([(0, 0, 10, 10, 0.5), (0, 0, 10, 10, 0.9)], truth)
    assert matches.order.tolist() == [1, 0]
    assert matches.gt.tolist() == [0, 0]
    assert matches.tp.tolist() == [True, False]
    assert matches.fp.tolist() == [False, True]


def test_a_difficult_box_is_neither_hit_nor_miss_and_takes_the_detection():
    matches = match([(0, 0, 10, 10, 0.9), (0, 0, 10, 10, 0.8)], [(0, 0, 10, 10, 1), (0, 0, 10, 11, 0)])
    assert not matches.tp.any()
    assert not matches.fp.any()


def test_the_first_of_equal_overlaps_is_matched():
    matches = match([(0, 0, 10, 10, 0.9)], [(0, 0, 10, 10, 1), (0, 0, 10, 10, 0)])
    assert matches.gt.tolist() == [0]
    assert not matches.tp.any()


def test_equal_scores_count_in_row_order():
    found = [(50, 50, 60, 60, 0.5), (0, 0, 10, 10, 0.5), (0, 0, 10, 10, 0.5)]
    assert match(found, [(0, 0, 10, 10, 0)]).tp.tolist() == [False, True, False]


def test_boxes_of_another_image_are_not_matched():
    detections = Detections(
        ("a", "b"), ("x",), np.array([1]), np.array([0]), as_boxes([(0, 0, 9, 9)]), np.ones(1, "f4")
    )
    truth = Annotations(as_boxes([(0, 0, 9, 9)]), ("x",), np.zeros(1, bool))
    assert evaluate_voc(detections, {"a": truth, "b": Annotations.empty()}, ["x"]).ap == {"x": 0.0}
    elsewhere = evaluate_voc(detections, {"a": truth}, ["x"])
    assert elsewhere.n_elsewhere == 1
    assert elsewhere.n_detections == {"x": 0}
    assert evaluate_voc(detections, {"b": truth}, ["x"]).ap == {"x": 1.0}


def test_images_without_detections_count_and_class_order_is_kept():
    none = Detections(
        (), ("x",), np.zeros(0, np.int64), np.zeros(0, np.int64), as_boxes([]), np.zeros(0, dtype=np.float32)
    )
    truth = Annotations(as_boxes([(0, 0, 9, 9)]), ("x",), np.zeros(1, bool))
    result = evaluate_voc(none, {"a": truth, "b": truth}, ["z", "x"])
    assert list(result.ap.items()) == [("z", None), ("x", 0.0)]
    assert result.npos == {"z": 0, "x": 2}
    assert result.mAP == 0.0
    assert evaluate_voc(none, {}, ["x"]).mAP is None


def test_wrong_options():
    none = Detections((), (), np.zeros(0, np.int64), np.zeros(0, np.int64), as_boxes([]), np.zeros(0, np.float32))
    with pytest.raises(UsageProblem, match=r"no protocol 'voc2008': choose one of voc2007, voc2010"):
        evaluate_voc(none, {}, [], "voc2008")
    for iou in (0, 1.5, float("nan")):
        with pytest.raises(UsageProblem, match="IoU threshold"):
            evaluate_voc(none, {}, ["x"], iou=iou)


def test_half_a_million_detections_take_seconds():
    rng = np.random.default_rng(0)
    images, classes, n = 5_000, tuple(f"c{i:02}" for i in range(20)), 500_000

    def boxes(count):
        start = rng.uniform(0, 400, (count, 2))
        return as_boxes(np.hstack([start, start + rng.uniform(5, 100, (count, 2))]))

    ids = tuple(f"{i:06}" for i in range(images))
    annotations = {}
    for image_id in ids:
        labels = tuple(classes[i] for i in rng.integers(0, len(classes), rng.integers(0, 6)))
        annotations[image_id] = Annotations(boxes(len(labels)), labels, rng.random(len(labels)) < 0.1)
    label = rng.integers(0, len(classes), n)
    scores = rng.random(n).astype(np.float32)
    detections = Detections(ids, classes, rng.integers(0, images, n), label, boxes(n), scores)
    start = time.perf_counter()
    result = evaluate_voc(detections, annotations, classes)
    assert time.perf_counter() - start < 10  # about 0.3 s on an idle core
    assert sum(result.n_detections.values()) == n


@given(st.lists(st.integers(-2, 6), max_size=40), st.integers(0, 5))
def test_rows_are_grouped_by_label(labels: list[int], number: int) -> None:
    found = grouped(np.array(labels, dtype=np.int64), number)
    assert [rows.tolist() for rows in found] == [[i for i, x in enumerate(labels) if x == k] for k in range(number)]
