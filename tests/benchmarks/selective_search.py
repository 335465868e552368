"""Time our Selective Search against OpenCV's: ``python -m tests.benchmarks.selective_search [--mode fast] [IMAGE...]``.

Without IMAGEs, scikit-learn's two photographs. Both engines take each image in turn in one process, OpenCV with one
thread, so that what else the computer does hits both; times are of the processor, the median of the rounds. The ratio
is the result, the milliseconds depend on the computer. Jaccard: boxes that both find, of those that either finds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_sample_images

from sppcli.images import read_image, shrink
from sppcli.paper import DEFAULT
from sppcli.proposals.selective_search.search import ENGINES, MODES
from sppcli.structures import ByteImage


def milliseconds(search: Callable[[], npt.NDArray[np.int32]]) -> tuple[float, npt.NDArray[np.int32]]:
    start = time.process_time()
    boxes = search()
    return 1000 * (time.process_time() - start), boxes


def compare(image: ByteImage, mode: str, rounds: int) -> tuple[float, float, float, int]:
    """Median milliseconds of OpenCV and of ours on a BGR image, the Jaccard index of their sets, and OpenCV's boxes."""
    times: dict[str, list[float]] = {"opencv": [], "spp": []}
    sets: dict[str, set[tuple[int, ...]]] = {}
    for _ in range(rounds):
        for name, values in times.items():
            elapsed, boxes = milliseconds(lambda name=name: ENGINES[name](image, mode))  # type: ignore[misc]
            values.append(elapsed)
            sets[name] = set(map(tuple, boxes.tolist()))
    both, either = sets["opencv"] & sets["spp"], sets["opencv"] | sets["spp"]
    medians = [statistics.median(values) for values in times.values()]
    return medians[0], medians[1], len(both) / len(either), len(sets["opencv"])


def _photographs() -> tuple[list[str], list[ByteImage]]:
    samples = load_sample_images()
    return samples.filenames, samples.images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--mode", choices=list(MODES), default=DEFAULT.mode)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.images:
        named = [(path.name, shrink(read_image(path), DEFAULT.max_side)[0]) for path in options.images]
    else:
        named = [(Path(name).name, image) for name, image in zip(*_photographs(), strict=True)]
    # Compiled, or loaded from numba's cache, before the clock runs.
    ENGINES["spp"](np.zeros((32, 32, 3), np.uint8), options.mode)
    rows = []
    print(f"{'image':24} {'size':>9} {'boxes':>6} {'OpenCV ms':>10} {'ours ms':>8} {'ratio':>6} {'Jaccard':>8}")
    for name, rgb in named:
        image = np.ascontiguousarray(rgb[:, :, ::-1])
        reference, ours, jaccard, count = compare(image, options.mode, options.rounds)
        rows.append((reference, ours))
        size = f"{image.shape[1]}x{image.shape[0]}"
        print(
            f"{name[:24]:24} {size:>9} {count:6} {reference:10.0f} {ours:8.1f} {reference / ours:6.1f} {jaccard:8.4f}",
            flush=True,
        )
    reference, ours = (sum(column) for column in zip(*rows, strict=True))
    n = len(rows)
    print(f"{'mean':24} {'':9} {'':6} {reference / n:10.0f} {ours / n:8.1f} {reference / ours:6.1f}")


if __name__ == "__main__":
    main()
