"""A structured forest of one tree, written by hand: an edge is where the gradient amid the patch is strong."""

from __future__ import annotations

import gzip
from pathlib import Path

_OPTIONS = {
    "stride": 2,
    "shrinkNumber": 2,
    "patchSize": 32,
    "patchInnerSize": 16,
    "numberOfGradientOrientations": 4,
    "gradientSmoothingRadius": 0,
    "regFeatureSmoothingRadius": 2,
    "ssFeatureSmoothingRadius": 8,
    "gradientNormalizationRadius": 4,
    "selfsimilarityGridSize": 5,
    "numberOfTrees": 1,
    "numberOfTreesToEvaluate": 1,
}


def write_forest(path: Path, threshold: float = 0.2) -> Path:
    """Write the forest in OpenCV's format, compressed if ``path`` ends in .gz."""
    # Channel 3 (gradient magnitude at full scale) of 13, in a patch of 16 x 16 cells, at its middle.
    feature = 3 * 256 + 8 * 16 + 8
    # The four pixels in the middle of the inner 16 x 16, so often that one patch alone makes a strong edge.
    middle = [row * 16 + column for row in (7, 8) for column in (7, 8)] * 32
    trees = {
        "childs": [2, 0, 0],
        "featureIds": [feature, 0, 0],
        "thresholds": [threshold, 0.0, 0.0],
        "edgeBoundaries": [0, 0, 0, len(middle)],
        "edgeBins": middle,
    }
    text = "%YAML:1.0\n---\noptions:\n" + "".join(f"   {name}: {value}\n" for name, value in _OPTIONS.items())
    text += "".join(f"{name}:\n   - [ {', '.join(map(str, values))} ]\n" for name, values in trees.items())
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
