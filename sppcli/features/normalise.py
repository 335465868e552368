"""Normalisation of feature vectors before linear models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sppcli.paper import DEFAULT
from sppcli.structures import FloatArray

NORMALISATIONS = ("none", "l2", "sqrt-l2")


@dataclass(frozen=True)
class Normaliser:
    """``kind``: none; l2 (each vector to length 1); sqrt-l2 (the same after a square root of each number).

    Vectors are then multiplied by ``factor``, which brings their mean length to 20, as in the release, so that a value
    of C means the same for every kind. The square root of max-pooled activations evens out the few large ones (the
    Hellinger map of histogram features).
    """

    kind: str
    factor: float

    def __post_init__(self) -> None:
        if self.kind not in NORMALISATIONS:
            raise ValueError(f"unknown normalisation {self.kind!r}; choose one of {', '.join(NORMALISATIONS)}")

    def apply(self, features: FloatArray) -> FloatArray:
        """``features`` (N, D) float32, normalised in place and returned; sqrt-l2 takes negative numbers as 0."""
        _shape(features, self.kind)
        features *= np.float32(self.factor)
        return features


def fit_normaliser(
    kind: str, sample: FloatArray | Iterable[FloatArray], norm: float = DEFAULT.feature_norm
) -> Normaliser:
    """Return the normaliser that gives ``sample`` (N, D), not yet normalised, a mean length of ``norm`` (release: 20).

    The sample may come in parts, of which one is held in memory at a time.
    """
    Normaliser(kind, 1.0)
    total, count = 0.0, 0
    for part in [sample] if isinstance(sample, np.ndarray) else sample:
        lengths = _lengths(_shape(part.copy(), kind) if kind != "none" else part)
        total += float(lengths.sum(dtype=np.float64))
        count += len(part)
    return Normaliser(kind, norm * count / total if total > 0 else 1.0)


def _shape(features: FloatArray, kind: str) -> FloatArray:
    if kind == "none":
        return features
    if kind == "sqrt-l2":
        np.maximum(features, 0, out=features)
        np.sqrt(features, out=features)
    lengths = _lengths(features)
    features /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return features


def _lengths(features: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", features, features)), dtype=np.float32)
