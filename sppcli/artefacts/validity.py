"""Values that no stage writes are refused when a file is read, though its checksums are right.

`store` has checked by then that every data set is there, of its type, and that tables are equally long. Here is what
their values must be, a function for each kind; `checked_values` reads all of a file and asks the one of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.store import Artefact
from sppcli.errors import BadArtefact

Values = dict[str, Any]
Array = npt.NDArray[Any]

_OF_WINDOWS = ("boxes", "scores")
_TOLERANCE = 1e-2
"""Pixels by which a box may lie outside its image: sides are float32, and some are computed."""
_ONLY_INSIDE = ("voc", "folder", "files")
"""Kinds of data sets all of whose images lie under their root; others may name images anywhere."""


def checked_values(artefact: Artefact) -> Values:
    """Every data set of the schema by name, strings as tuples.

    Raises:
        BadArtefact: a value that cannot be; names the file, the data set and the command that makes it.
    """
    found = _read(artefact, [item.name for item in artefact.schema.fields])
    _CHECKS[artefact.schema.kind](_Checker(artefact), found)
    return found


def checked_tables(artefact: Artefact) -> Values:
    """Of a file of proposals everything but the proposals, which `checked_proposals` reads.

    Raises:
        BadArtefact: as for `checked_values`.
    """
    found = _read(artefact, [item.name for item in artefact.schema.fields if item.name not in _OF_WINDOWS])
    check = _Checker(artefact)
    check.images(found)
    check.offsets(found["offsets"], artefact.shape("boxes")[0])
    return found


def checked_proposals(artefact: Artefact, tables: Values, rows: Sequence[int]) -> tuple[Array, Array]:
    """Boxes (N, 4) and scores (N,) of the images ``rows``, one image after the other; nothing else is read of them.

    Raises:
        BadArtefact: as for `checked_values`.
    """
    offsets = tables["offsets"]
    runs = [(int(offsets[row]), int(offsets[row + 1])) for row in rows]
    boxes, scores = (artefact.runs(name, runs) for name in _OF_WINDOWS)
    lies = np.concatenate([np.zeros(0, np.int64), *(np.arange(*run) for run in runs)])
    check = _Checker(artefact, lies)
    check.finite("scores", scores)
    check.boxes("boxes", boxes, np.repeat(tables["sizes"][rows], [end - start for start, end in runs], axis=0))
    return boxes, scores


def _read(artefact: Artefact, names: Sequence[str]) -> Values:
    texts = {item.name for item in artefact.schema.fields if item.dtype == "str"}
    return {name: artefact.strings(name) if name in texts else artefact.array(name) for name in names}


class _Checker:
    """``lies``: which row of the file each row that was read is; all of them without it."""

    def __init__(self, artefact: Artefact, lies: Array | None = None) -> None:
        self._artefact = artefact
        self._lies = lies
        self.source_kind = artefact.header.source.get("kind")
        self._features = artefact.header.summary.get("features")

    def refuse(self, name: str, why: str) -> None:
        made_by = self._artefact.schema.made_by
        raise BadArtefact(f"{self._artefact.path}: {name} {why}; run {made_by} --force to make it again")

    def need(self, name: str, good: Any, why: str) -> None:
        """Refuse ``name`` unless all of ``good``; ``why`` may speak of {i}, the first row that is not."""
        rows = np.atleast_1d(np.asarray(good, dtype=np.bool_))
        if not rows.all():
            row = int(np.flatnonzero(~rows.reshape(len(rows), -1).all(axis=1))[0])
            self.refuse(name, why.format(i=row if self._lies is None else int(self._lies[row])))

    def finite(self, name: str, array: Array) -> None:
        # A sum is not finite if a summand is not; the rows are looked for only then.
        with np.errstate(all="ignore"):
            plain = bool(np.isfinite(array.sum(dtype=np.float64))) if array.size else True
        if not plain:
            self.need(name, np.isfinite(array), "has a value in row {i} that is no finite number")

    def distinct(self, name: str, texts: tuple[str, ...]) -> None:
        if len(set(texts)) < len(texts):
            twice = next(text for i, text in enumerate(texts) if text in texts[:i])
            self.refuse(name, f"has {twice!r} twice")

    def index(self, name: str, array: Array, count: int, of: str) -> None:
        self.need(name, (array >= 0) & (array < count), f"points outside the {count} {of} in row {{i}}")

    def corners(self, name: str, boxes: Array) -> None:
        self.need(name, np.isfinite(boxes), "has a corner in row {i} that is no finite number")
        self.need(name, boxes[:, 2:] >= boxes[:, :2], "has a box in row {i} that ends before it starts")

    def boxes(self, name: str, boxes: Array, sizes: Array) -> None:
        """``sizes`` (N, 2): height and width of each box's image."""
        self.corners(name, boxes)
        inside = (boxes[:, :2] >= -_TOLERANCE) & (boxes[:, 2:] <= sizes[:, ::-1] + _TOLERANCE)
        self.need(name, inside, "has a box in row {i} outside its image")

    def offsets(self, offsets: Array, boxes: int) -> None:
        """``boxes``: how many the images have in all."""
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != boxes:
            self.refuse("offsets", f"do not cover the {boxes} boxes")
        self.need("offsets", np.diff(offsets) >= 0, "fall at image {i}")

    def width(self, weights: Array) -> None:
        """Weights of pooled features are as wide as these; of fc layers the network says, which is read later."""
        try:
            of = self._features or {}
            wide = of["network"]["channels"] * sum(level * level for level in of["levels"])
            pooled = of["layer"] == "pool5"
        except (KeyError, TypeError, BadArtefact):
            return  # what a description lacks is told when it is asked for
        if pooled and weights.shape[-1] != wide:
            self.refuse("weights", f"are of {weights.shape[-1]} features, not of the {wide} that the description says")

    def images(self, found: Values) -> None:
        self.distinct("image_ids", found["image_ids"])
        self.need("sizes", found["sizes"] > 0, "has a height or width in row {i} that is not above zero")
        for i, path in enumerate(found["paths"]):
            plain = PurePosixPath(path)
            if not path or "\0" in path or ".." in plain.parts:
                self.refuse("paths", f"has a path in row {i} that leads out of the data set ({path!r})")
            if plain.is_absolute() and self.source_kind in _ONLY_INSIDE:
                self.refuse("paths", f"has a path in row {i} that is not relative ({path!r})")


def checked_halves(artefact: Artefact, name: str) -> Array:
    """A data set of float16, such as a conv map, all of whose values are finite numbers.

    Raises:
        BadArtefact: as for `checked_values`.
    """
    values = _of_type(artefact, name, np.float16)
    # As integers with a sign positive infinity and NaN are the highest, without one negative infinity and NaN are.
    if values.size and (values.view(np.int16).max() >= 0x7C00 or values.view(np.uint16).max() >= 0xFC00):
        _Checker(artefact).need(name, np.isfinite(values), "has a value in row {i} that is no finite number")
    return values


def checked_regions(artefact: Artefact, name: str) -> Array:
    """Regions (N, 4); an object's may reach outside its image, where annotations say another size than the image has.

    Raises:
        BadArtefact: as for `checked_values`.
    """
    boxes = _of_type(artefact, name, np.float32)
    _Checker(artefact).corners(name, boxes)
    return boxes


def _of_type(artefact: Artefact, name: str, dtype: type[np.floating]) -> Array:
    values = artefact.array(name)
    if values.dtype != dtype:
        _Checker(artefact).refuse(name, f"is {values.dtype}, expected {np.dtype(dtype)}")
    return values


def _proposals(check: _Checker, found: Values) -> None:
    check.images(found)
    check.offsets(found["offsets"], len(found["boxes"]))
    check.finite("scores", found["scores"])
    check.boxes("boxes", found["boxes"], np.repeat(found["sizes"], np.diff(found["offsets"]), axis=0))


def _features(check: _Checker, found: Values) -> None:
    check.images(found)


def _image_features(check: _Checker, found: Values) -> None:
    check.images(found)
    check.finite("vectors", found["vectors"])
    check.distinct("classes", found["classes"])
    check.distinct("split_names", found["split_names"])
    check.need("labels", np.abs(found["labels"].astype(np.int64)) <= 1, "has a label in row {i} other than -1, 0, 1")


def _svm(check: _Checker, found: Values) -> None:
    check.distinct("classes", found["classes"])
    check.width(found["weights"])
    for name in ("weights", "biases"):
        check.finite(name, found[name])


def _bbox(check: _Checker, found: Values) -> None:
    check.distinct("classes", found["classes"])
    check.width(found["weights"])
    for name in ("weights", "biases", "unwhiten", "means"):
        check.finite(name, found[name])


def _detections(check: _Checker, found: Values) -> None:
    check.images(found)
    check.distinct("classes", found["classes"])
    check.index("image", found["image"], len(found["image_ids"]), "images")
    check.index("label", found["label"], len(found["classes"]), "classes")
    check.finite("scores", found["scores"])
    check.boxes("boxes", found["boxes"], found["sizes"][found["image"]])


def _calibration(check: _Checker, found: Values) -> None:
    check.distinct("classes", found["classes"])
    for name in ("slopes", "intercepts", "knots", "scores"):
        check.finite(name, found[name])
    check.need("thresholds", ~np.isnan(found["thresholds"]), "has a value in row {i} that is no number")
    check.need("slopes", found["slopes"] >= 0, "has a value in row {i} below zero, so that probabilities would fall")
    check.need("objects", found["objects"] >= 0, "has a count in row {i} below zero")
    check.index("label", found["label"], len(found["classes"]), "classes")
    offsets, knots = found["offsets"], found["knots"]
    if offsets[0] != 0 or offsets[-1] != len(knots):
        check.refuse("offsets", f"do not cover the {len(knots)} knots")
    check.need("offsets", np.diff(offsets) >= 0, "fall at class {i}")
    check.need("knots", (knots[:, 1] >= 0) & (knots[:, 1] <= 1), "has a probability in row {i} outside 0 to 1")
    within = np.ones(max(0, len(knots) - 1), np.bool_)
    ends = offsets[1:-1]
    within[ends[(ends > 0) & (ends < len(knots))] - 1] = False
    check.need("knots", (np.diff(knots, axis=0) >= 0).all(axis=1) | ~within, "fall after row {i}")


_CHECKS: dict[str, Callable[[_Checker, Values], None]] = {
    "proposals": _proposals,
    "features": _features,
    "image-features": _image_features,
    "svm": _svm,
    "bbox": _bbox,
    "detections": _detections,
    "calibration": _calibration,
}
