"""Average precision of half a million detections, beside py-faster-rcnn's way: a loop over them in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.evaluation.voc_ap import evaluate_voc
from sppcli.structures import Annotations, BoolArray, Boxes, Detections

Float64 = npt.NDArray[np.float64]

# Bytes that any program reads of a detection: image and class as int64, box and score as float32.
_READ = 8 + 8 + 16 + 4


def rows(
    machine: Machine, images: int = 5000, classes: int = 20, detections: int = 500_000, repeat: int = 3
) -> list[Row]:
    """Seconds from detections and annotations in memory to the AP of every class.

    Floor: reading the detections once. Both compute VOC2007's AP with the same recall points (`ap_11point`, "octave").

    Raises:
        AssertionError: the two disagree on the AP of a class.
    """
    found, truth = synthetic(images, classes, detections)
    results: dict[str, Mapping[str, float | None]] = {}

    def ours() -> None:
        results["ours"] = evaluate_voc(found, truth, found.classes, points="octave").ap

    def peer() -> None:
        results["peer"] = loop_ap(found, truth, found.classes)

    seconds = alternated({"ours": ours}, repeat) | alternated({"peer": peer}, 1, warm=False)
    if results["ours"] != results["peer"]:
        raise AssertionError(f"AP differs from that of the loop: {results}")
    return [
        Row(
            "evaluation",
            f"{detections:,} detections of {classes} classes in {images:,} images",
            seconds["ours"],
            machine.floor(moved=detections * _READ),
            "reading the detections",
            "a loop over them, as py-faster-rcnn",
            seconds["peer"],
        )
    ]


def synthetic(images: int, classes: int, detections: int, seed: int = 0) -> tuple[Detections, dict[str, Annotations]]:
    """Detections and ground truth drawn at random: 1 to 5 objects per image, a tenth of them difficult.

    A fifth of the detections lie about an object of their class, several about the same one; the rest anywhere.
    Scores repeat, as few decimals make them.
    """
    random = np.random.default_rng(seed)
    names = tuple(f"class{number:02d}" for number in range(classes))
    ids = tuple(f"{number:06d}" for number in range(images))
    counts = random.integers(1, 6, images)
    owner = np.repeat(np.arange(images), counts)
    label = random.integers(0, classes, len(owner))
    boxes = _draw(random, len(owner))
    difficult = random.random(len(owner)) < 0.1
    ends = np.cumsum(counts)
    truth = {
        image_id: Annotations(boxes[a:b], tuple(names[k] for k in label[a:b]), difficult[a:b])
        for image_id, a, b in zip(ids, ends - counts, ends, strict=True)
    }
    image = random.integers(0, images, detections)
    kind = random.integers(0, classes, detections)
    place = _draw(random, detections)
    near = np.flatnonzero(random.random(detections) < 0.2)
    about = random.integers(0, len(owner), len(near))
    image[near], kind[near] = owner[about], label[about]
    place[near] = boxes[about] + random.integers(-8, 9, (len(near), 4))
    scores = random.random(detections).round(4).astype(np.float32)
    return Detections(ids, names, image, kind, place, scores), truth


def _draw(random: np.random.Generator, count: int) -> Boxes:
    corners, sides = random.integers(0, 300, (count, 2)), random.integers(20, 200, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def loop_ap(
    detections: Detections, truth: Mapping[str, Annotations], classes: Sequence[str]
) -> dict[str, float | None]:
    """AP of each class as py-faster-rcnn's ``voc_eval`` finds it, over boxes that are half-open.

    A class at a time: a dictionary of the images' objects, and a loop over the detections from the highest score down,
    each compared by numpy with the objects of its image.
    """
    found: dict[str, float | None] = {}
    for name in classes:
        records = {image_id: _record(objects, name) for image_id, objects in truth.items()}
        npos = sum(int(np.sum(~difficult)) for _, difficult, _ in records.values())
        mine = np.flatnonzero(detections.label == detections.classes.index(name))
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        boxes = detections.boxes[mine]
        ids = [detections.image_ids[index] for index in detections.image[mine]]
        tp, fp = np.zeros(len(mine)), np.zeros(len(mine))
        for d in range(len(mine)):
            objects, difficult, taken = records[ids[d]]
            box = boxes[d].astype(float)
            highest, best = -np.inf, -1
            if objects.size > 0:
                overlaps = _overlaps(box, objects)
                highest, best = np.max(overlaps), int(np.argmax(overlaps))
            if highest >= 0.5:
                if not difficult[best]:
                    if not taken[best]:
                        tp[d] = 1.0
                        taken[best] = True
                    else:
                        fp[d] = 1.0
            else:
                fp[d] = 1.0
        found[name] = _ap(np.cumsum(tp), np.cumsum(fp), npos) if npos else None
    return found


def _record(objects: Annotations, name: str) -> tuple[Float64, BoolArray, list[bool]]:
    chosen = [row for row, label in enumerate(objects.labels) if label == name]
    return objects.boxes[chosen].astype(float), objects.difficult[chosen], [False] * len(chosen)


def _overlaps(box: Float64, objects: Float64) -> Float64:
    left, top = np.maximum(objects[:, 0], box[0]), np.maximum(objects[:, 1], box[1])
    right, bottom = np.minimum(objects[:, 2], box[2]), np.minimum(objects[:, 3], box[3])
    common = np.maximum(right - left, 0.0) * np.maximum(bottom - top, 0.0)
    area = (objects[:, 2] - objects[:, 0]) * (objects[:, 3] - objects[:, 1])
    overlaps: Float64 = common / ((box[2] - box[0]) * (box[3] - box[1]) + area - common)
    return overlaps


def _ap(hits: Float64, misses: Float64, npos: int) -> float:
    recall = hits / float(npos)
    precision = hits / np.maximum(hits + misses, np.finfo(np.float64).eps)
    best = [np.max(precision[recall >= t]) if np.sum(recall >= t) else 0.0 for t in np.arange(0.0, 1.1, 0.1)]
    return float(np.mean(best))
