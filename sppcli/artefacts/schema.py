"""Every name, dtype, shape and meaning in the files that stages exchange.

A file's root attributes are ``kind``, ``schema_version``, ``tool_version``, ``fingerprint`` (SHA-256 of kind,
version, config and inputs), ``config`` (JSON: the options that decide the content), ``inputs`` (JSON: name ->
fingerprint of what was read), ``source`` (JSON: where inputs were found; does not decide the content) and
``summary`` (JSON: what the stage reported).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One data set: its dtype ('str' is UTF-8), its axes, and what it means with its unit."""

    name: str
    dtype: str
    axes: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Schema:
    """All that a kind of file holds. ``groups`` are described and not checked item by item."""

    kind: str
    version: int
    made_by: str
    fields: tuple[Field, ...]
    groups: tuple[tuple[str, str], ...] = ()


_IMAGES = (
    Field("image_ids", "str", ("images",), "id of each image, in order"),
    Field("paths", "str", ("images",), "path relative to the source's root, with /"),
    Field("digests", "str", ("images",), "SHA-256 of the image file"),
    Field("sizes", "int64", ("images", "2"), "height, width in pixels, upright"),
)
_SKIPPED = (
    Field("skipped_names", "str", ("skipped",), "inputs left out"),
    Field("skipped_reasons", "str", ("skipped",), "why"),
)

SCHEMAS: dict[str, Schema] = {
    schema.kind: schema
    for schema in (
        Schema(
            "proposals",
            1,
            "spp propose",
            (
                *_IMAGES,
                *_SKIPPED,
                Field("boxes", "float32", ("windows", "4"), "x0 y0 x1 y1, 0-based half-open, pixels"),
                Field("scores", "float32", ("windows",), "higher is better; selective search: position in its order"),
                Field("offsets", "int64", ("images + 1",), "image i has windows offsets[i]:offsets[i+1]"),
            ),
        ),
        Schema(
            "features",
            1,
            "spp extract",
            (*_IMAGES, *_SKIPPED),
            (
                (
                    "maps/<scale>/<image index, 6 digits>",
                    "conv map, float16 (height, width, channels), one compressed chunk",
                ),
                ("mirrored/<scale>/<image index, 6 digits>", "with --flip: the same of the mirror image"),
                (
                    "windows/<image index, 6 digits>",
                    "R-CNN's, instead of maps: a layer's output for each window, float16 (windows, features)",
                ),
                (
                    "boxes/<image index, 6 digits>",
                    "those windows, float32 (windows, 4): the image's objects, then proposals",
                ),
            ),
        ),
        Schema(
            "image-features",
            1,
            "spp features",
            (
                *_IMAGES,
                *_SKIPPED,
                Field("vectors", "float32", ("images", "features"), "one vector per whole image"),
                Field("classes", "str", ("classes",), "class names; none for images without labels"),
                Field("labels", "int8", ("images", "classes"), "1 present, -1 absent, 0 only difficult or not known"),
                Field("split_names", "str", ("splits",), "splits of the data set"),
                Field(
                    "in_split", "bool", ("images", "splits"), "whether the image is in the split; it may be in several"
                ),
            ),
        ),
        Schema(
            "svm",
            1,
            "spp train-svm",
            (
                Field("classes", "str", ("classes",), "class names"),
                Field("weights", "float32", ("classes", "features"), "one row per class, on normalised features"),
                Field("biases", "float32", ("classes",), "added to the product"),
            ),
        ),
        Schema(
            "bbox",
            1,
            "spp train-bbox",
            (
                Field("classes", "str", ("classes",), "class names"),
                Field("weights", "float32", ("classes", "4", "features"), "whitened targets from normalised features"),
                Field("biases", "float32", ("classes", "4"), "added to the product, before un-whitening"),
                Field("unwhiten", "float32", ("classes", "4", "4"), "T_inv: whitened to plain targets"),
                Field("means", "float32", ("classes", "4"), "added last: dx/w, dy/h, log dw, log dh"),
                Field("trained", "bool", ("classes",), "false: too few examples, boxes are left as they are"),
            ),
        ),
        Schema(
            "calibration",
            1,
            "spp calibrate",
            (
                Field("classes", "str", ("classes",), "class names, in the order of the detector's labels"),
                Field("methods", "str", ("classes",), "isotonic, sigmoid or constant; shared: that of all classes"),
                Field("thresholds", "float64", ("classes",), "scores above count as objects; infinity: none does"),
                Field("slopes", "float64", ("classes",), "of the sigmoid 1 / (1 + exp(-(slope x + intercept)))"),
                Field("intercepts", "float64", ("classes",), "of the sigmoid"),
                Field("offsets", "int64", ("classes + 1",), "class k has knots offsets[k]:offsets[k+1]"),
                Field("knots", "float64", ("knots", "2"), "score, probability; both rise within a class"),
                Field("objects", "int64", ("classes",), "objects in the images held out, without difficult ones"),
                Field("label", "int64", ("held out",), "of each detection held out, index into classes"),
                Field("scores", "float32", ("held out",), "its score, by class, best first"),
                Field("hits", "bool", ("held out",), "whether it is right"),
            ),
        ),
        Schema(
            "detections",
            1,
            "spp detect",
            (
                Field("image_ids", "str", ("images",), "the images searched, found in or not"),
                Field("paths", "str", ("images",), "path relative to the source's root, with /"),
                Field("sizes", "int64", ("images", "2"), "height, width in pixels, upright"),
                Field("classes", "str", ("classes",), "class names"),
                Field("image", "int64", ("detections",), "index into image_ids"),
                Field("label", "int64", ("detections",), "index into classes"),
                Field("boxes", "float32", ("detections", "4"), "x0 y0 x1 y1, 0-based half-open, pixels"),
                Field("scores", "float32", ("detections",), "SVM score"),
            ),
        ),
    )
}
