"""Compiles our Selective Search before it is needed: once on each computer, in several processes, and tells the user.

numba compiles a function at its first call and keeps the result in ``__pycache__`` beside the module or, where that
cannot be written, in the user's cache folder (NUMBA_CACHE_DIR names another). Worker processes that start without it
would all compile the same code, and say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.proposals.selective_search import graph_segmentation, grouping, introsort, pixel_codes, region_features
from sppcli.proposals.selective_search.graph_segmentation import ListedEdges, Segmentation, segment
from sppcli.proposals.selective_search.grouping import ALL_FOUR, group
from sppcli.proposals.selective_search.region_features import Regions, measure
from sppcli.runtime.compiled import is_kept, temporary_folder
from sppcli.runtime.processes import run_many
from sppcli.runtime.progress import Progress


def _compile_segmentation() -> None:
    # Not flat: edges are refused, so that the second pass is needed.
    segment((5 * np.arange(48)).astype(np.uint8).reshape(4, 4, 3), (1, 2))


def _compile_ties() -> None:
    ListedEdges(np.zeros((4, 4, 3), np.float32)).join_small(
        np.float32(0), np.arange(16, dtype=np.int32), np.full(16, -1, np.int32), 1
    )


def _compile_features() -> None:
    measure([Segmentation(np.zeros((4, 4), np.int32), 1)], pixel_codes.pixel_codes(np.zeros((4, 4, 3), np.uint8)))


def _compile_grouping() -> None:
    histograms = np.ones((2, 1), np.float32)
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1]], np.int32)
    starts = np.array([0, 1, 1], np.int32)
    others = np.ones(1, np.int32)
    group(Regions(np.ones(2, np.int32), boxes, starts, others, histograms, histograms), ALL_FOUR, 2)


# What compiles each part, and the functions that this calls from Python: where they are cached, so is what they call.
PARTS: dict[str, tuple[Callable[[], None], tuple[Any, ...]]] = {
    "grouping": (_compile_grouping, (grouping._group,)),
    "features": (_compile_features, (region_features._fold, region_features._count, pixel_codes._encode_rows)),
    "segmentation": (_compile_segmentation, (graph_segmentation._label, graph_segmentation._join_all_small)),
    "ties": (_compile_ties, (introsort.equal_items,)),
}


def compile_part(name: str) -> None:
    """Make sure that one of `PARTS` is compiled: from the cache in a moment, else in seconds."""
    PARTS[name][0]()


def missing_parts() -> list[str]:
    """Those of `PARTS` that numba would compile, not load."""
    return [name for name, (_, functions) in PARTS.items() if not all(map(is_kept, functions))]


def kept_in() -> Path | None:
    """Where numba keeps what it compiles of `graph_segmentation`; None if nowhere."""
    folder = graph_segmentation._label.stats.cache_path  # type: ignore[attr-defined]
    return None if folder is None else Path(folder)


def prepare(engine: str, jobs: int, progress: Progress) -> None:
    """Compile what ``engine`` needs and is not cached yet, in ``jobs`` processes, telling ``progress``."""
    missing = missing_parts() if engine == "spp" else []
    folder = kept_in()
    if missing and folder is None:
        progress.warn(
            "compiled code can be kept nowhere, so Selective Search is compiled in every process that searches; set "
            "NUMBA_CACHE_DIR to a folder that can be written"
        )
    elif missing:
        if folder is not None and folder.is_relative_to(temporary_folder()):
            progress.warn(
                f"compiled code is kept in {temporary_folder()}, as neither the program's own folder nor the user's "
                "cache folder can be written; set NUMBA_CACHE_DIR to keep it elsewhere"
            )
        progress.start(len(missing), "compiled parts")
        progress.note("compiling Selective Search, once on this computer")
        for _ in run_many(compile_part, missing, jobs):
            progress.advance()
