"""What the description of an artefact must be where a stage reads it: the forms of its values, by name.

`store` checks it when a file is opened. A key that is missing is told when it is asked for; keys that are not here are
for people, and may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MOST = 10**9
"""No count of pixels, cells, channels, proposals or bytes per line of work here is above this."""


@dataclass(frozen=True)
class Form:
    """``wanted`` says in words what ``fits`` asks."""

    wanted: str
    fits: Callable[[Any], bool]


Forms = Mapping[str, "Form | Forms"]
"""A table whose values have these forms, where they are there."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _listed(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(fits, value))


def _or_none(form: Form) -> Form:
    return Form(f"{form.wanted} or null", lambda value: value is None or form.fits(value))


def _one_of(*texts: str) -> Form:
    return Form(f"one of {', '.join(texts)}", lambda value: value in texts)


TEXT = Form("a text", _is_text)
TEXTS = Form("a list of texts", _listed(_is_text))
FLAG = Form("true or false", lambda value: isinstance(value, bool))
NUMBER = Form("a number", _is_number)
SCORE = Form("a number", lambda value: isinstance(value, int | float) and not math.isnan(value))
ABOVE_ZERO = Form("a number above zero", lambda value: _is_number(value) and value > 0)
WHOLE = Form("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
NATURAL = Form("a whole number from zero", lambda value: value is not False and (value == 0 or _is_count(value)))
COUNT = Form("a whole number above zero", _is_count)
COUNTS = Form("a list of whole numbers above zero", _listed(_is_count))
TABLE = Form("a table", lambda value: isinstance(value, dict))
TABLES = Form("a list of tables", _listed(TABLE.fits))

_NETWORK: Forms = {
    "backbone": TEXT,
    "cut": TEXT,
    "digest": TEXT,
    "stride": ABOVE_ZERO,
    "centre": NUMBER,
    "channels": COUNT,
    "canonical": COUNT,
    "canonical_cells": COUNT,
    "pyramid": COUNTS,
}
_CROPS: Forms = {"layer": TEXT, "levels": COUNTS, "side": COUNT, "context": NATURAL, "head_digest": TEXT}
_FEATURES: Forms = {
    "network": _NETWORK,
    "layer": TEXT,
    "levels": COUNTS,
    "scale_rule": _one_of("pixels", "side"),
    "window_side": ABOVE_ZERO,
    "slack": NUMBER,
    "normalize": _one_of("none", "l2", "sqrt-l2"),
    "factor": ABOVE_ZERO,
    "head_digest": TEXT,
    "svd": COUNTS,
    "precision": TEXT,
    "crops": _CROPS,
}
_SOURCE: Forms = {
    "root": TEXT,
    "paths": TEXTS,
    "kind": _or_none(TEXT),
    "split_seed": WHOLE,
    "unlabelled": _or_none(TEXT),
    "edge_model": TEXT,
    "head_weights": _or_none(TEXT),
    "imports": TABLES,
    "network": {
        "weights": TEXT,
        "backbone": _or_none(TEXT),
        "cut": _or_none(TEXT),
        "reads": _or_none(TEXT),
    },
    "inputs": {
        "proposals": TEXT,
        "network": TEXT,
        "models": Form("a list of three texts each", _listed(lambda item: TEXTS.fits(item) and len(item) == 3)),
    },
}
_MODEL: Forms = {
    "features": _FEATURES,
    "classes": TABLES,
    "images": NATURAL,
    "scales": COUNTS,
    "precision": TEXT,
    "proposals": TABLE,
}
_OPTIONAL = ("crops",)
"""Tables that may be null."""

_DETECTION: Forms = {
    "nms": NUMBER,
    "nms_again": FLAG,
    "second_pass": FLAG,
    "max_per_image": NATURAL,
    "min_score": SCORE,
}
_CONFIG: Mapping[str, Forms] = {
    "proposals": {"method": TEXT},
    "features": {"scales": COUNTS, "precision": TEXT, "flip": FLAG, "network": _NETWORK, "crops": _CROPS},
    "bbox": {"box_width": _one_of("half-open", "inclusive")},
    "calibration": {
        "at": TEXT,
        "split": TEXT,
        "folds": NATURAL,
        "seed": NATURAL,
        "scores": _one_of("margin", "probability"),
        "settings": _DETECTION,
    },
    "detections": {
        "split": TEXT,
        "bbox": TEXT,
        "recipe": TEXT,
        "svd": COUNTS,
        "settings": _DETECTION,
    },
}
_SHARD: Forms = {"number": COUNT, "of": COUNT}
_CALIBRATED: Forms = {
    "images": NATURAL,
    "overall": _or_none(NUMBER),
    "overall_counts": {"shown": NATURAL, "hits": NATURAL, "objects": NATURAL},
}
_SUMMARY: Mapping[str, Forms] = {"svm": _MODEL, "bbox": _MODEL, "calibration": _CALIBRATED}


def fault(kind: str, config: Any, inputs: Any, source: Any, summary: Any) -> str:
    """What is wrong with the description of a file of ``kind``, as the end of a sentence; "" if nothing is."""
    tables = (
        ("config", config, {"shard": _SHARD, **_CONFIG.get(kind, {})}),
        ("inputs", inputs, dict.fromkeys(inputs, TEXT)),
        ("source", source, _SOURCE),
        ("summary", summary, _SUMMARY.get(kind, {})),
    )
    return next((text for name, table, forms in tables for text in _faults(table, forms, name)), "")


def _faults(table: Any, forms: Forms, where: str) -> Iterator[str]:
    if not isinstance(table, dict):
        yield f"{where} is {_shown(table)}, not a table"
        return
    for name, form in forms.items():
        if name not in table or (table[name] is None and name in _OPTIONAL):
            continue
        value = table[name]
        if not isinstance(form, Form):
            yield from _faults(value, form, f"{where}.{name}")
        elif not form.fits(value):
            yield f"{where}.{name} is {_shown(value)}, not {form.wanted}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
