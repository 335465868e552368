"""Top-k errors of classification (ILSVRC's: an image is right if its class is among the k most probable)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def top_k_error(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], k: int) -> float:
    """Share of rows of ``probabilities`` (N, classes) whose class ``labels`` (N,) is not among the ``k`` greatest.

    Of equal probabilities the class of lower index counts as the greater.

    Raises:
        ValueError: no rows.
    """
    if not len(labels):
        raise ValueError("there is nothing to judge")
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    index = np.arange(probabilities.shape[1])
    before = (probabilities > own) | ((probabilities == own) & (index[None, :] < labels[:, None]))
    return float((before.sum(axis=1) >= k).mean())
