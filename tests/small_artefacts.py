"""Small artefact files over a small VOC data set, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sppcli.artefacts.store import Header, create
from sppcli.artefacts.writing import Writer
from tests.conftest import Voc

Found = tuple[str, tuple[float, float, float, float], float]


def source_of(voc: Voc) -> dict[str, object]:
    return {"kind": "voc", "paths": [str(voc.root)], "root": str(voc.root)}


def write_images(writer: Writer, voc: Voc, ids: Sequence[str], size: tuple[int, int], full: bool = True) -> None:
    writer.strings("image_ids", ids)
    writer.strings("paths", [f"JPEGImages/{name}.jpg" for name in ids])
    writer.array("sizes", np.array([size] * len(ids), dtype=np.int64).reshape(-1, 2))
    if full:
        writer.strings("digests", ["0" * 64] * len(ids))
        writer.strings("skipped_names", ["JPEGImages/bad.jpg"])
        writer.strings("skipped_reasons", ["bad.jpg: damaged image"])


def write_detections(
    path: Path,
    voc: Voc,
    found: Mapping[str, Sequence[Found]],
    classes: Sequence[str] = ("disc", "square", "triangle"),
    size: tuple[int, int] = (96, 128),
    made_by: str = "svm",
) -> None:
    """``found``: image id -> (class, box, score); its keys are the images searched. ``made_by``: svm or network."""
    ids = list(found)
    rows = [(ids.index(name), *item) for name, items in found.items() for item in items]
    header = Header("detections", {"nms": 0.3}, {made_by: "ab" * 32}, source_of(voc), {"detections": len(rows)})
    with create(path, header) as writer:
        write_images(writer, voc, ids, size, full=False)
        writer.strings("classes", classes)
        writer.array("image", np.array([row[0] for row in rows], dtype=np.int64))
        writer.array("label", np.array([classes.index(row[1]) for row in rows], dtype=np.int64))
        writer.array("boxes", np.array([row[2] for row in rows], dtype=np.float32).reshape(-1, 4))
        writer.array("scores", np.array([row[3] for row in rows], dtype=np.float32))


def write_proposals(path: Path, voc: Voc, per_image: int = 20, size: tuple[int, int] = (96, 128)) -> None:
    """Random windows in every image; window 0 of each is its first object exactly."""
    rng = np.random.default_rng(0)
    height, width = size
    boxes = []
    for name in voc.ids:
        ends = np.sort(rng.random((per_image, 2, 2)), axis=1).reshape(per_image, 4)
        here = (ends * [width, height, width, height]).astype(np.float32)
        here[0] = voc.things[name][0].box
        boxes.append(here)
    header = Header("proposals", {"mode": "fast"}, {"images": "ef" * 32}, source_of(voc))
    with create(path, header) as writer:
        write_images(writer, voc, voc.ids, size)
        writer.array("boxes", np.concatenate(boxes))
        writer.array("scores", rng.random(per_image * len(voc.ids)).astype(np.float32))
        writer.array("offsets", np.arange(len(voc.ids) + 1, dtype=np.int64) * per_image)


def write_features(path: Path, voc: Voc, scales: Sequence[int] = (48, 96), channels: int = 8) -> None:
    """Maps that are mostly zero, as real ones are, so that they compress."""
    header = Header("features", {"scales": list(scales)}, {"proposals": "cd" * 32}, source_of(voc))
    with create(path, header) as writer:
        write_images(writer, voc, voc.ids, (96, 128))
        for scale in scales:
            for i in range(len(voc.ids)):
                values = np.zeros((scale // 16 * 10, scale // 12 * 10, channels), dtype=np.float16)
                writer.array(f"maps/{scale}/{i:06d}", values, compress=True)


def write_svm(path: Path, classes: Sequence[str] = ("disc", "square")) -> None:
    with create(path, Header("svm", {"c": 0.001, "pyramid": [3, 2, 1]}, {"features": "12" * 32})) as writer:
        writer.strings("classes", classes)
        writer.array("weights", np.zeros((len(classes), 112), dtype=np.float32))
        writer.array("biases", np.zeros(len(classes), dtype=np.float32))


def write_bbox(path: Path, classes: Sequence[str] = ("disc", "square")) -> None:
    """The last class is not trained."""
    count = len(classes)
    with create(path, Header("bbox", {"penalty": 1000}, {"features": "12" * 32})) as writer:
        writer.strings("classes", classes)
        writer.array("weights", np.zeros((count, 4, 112), dtype=np.float32))
        writer.array("biases", np.zeros((count, 4), dtype=np.float32))
        writer.array("unwhiten", np.zeros((count, 4, 4), dtype=np.float32))
        writer.array("means", np.zeros((count, 4), dtype=np.float32))
        writer.array("trained", np.arange(count) < count - 1)
