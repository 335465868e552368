"""Recall of proposals.h5 against the annotations, by number of proposals and IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.artefacts.overwriting import PICTURE, claim
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.datasets.base import Dataset
from sppcli.datasets.formats import require_annotations
from sppcli.datasets.reopen import reopen
from sppcli.detection.against import nothing_shown
from sppcli.errors import MissingInput
from sppcli.evaluation.recall import THRESHOLDS, ProposalRecall, reach
from sppcli.runtime.counts import count_of
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress
from sppcli.structures import Annotations


@dataclass(frozen=True)
class FileRecall:
    """The recall of one file of proposals; ``method`` is what `spp propose` recorded."""

    path: Path
    method: str
    reach: ProposalRecall

    def to_json(self) -> dict[str, Any]:
        """Recall and AR of all objects and of each class; the last number of each list is that of all proposals."""
        groups = {"all": self.reach, **{name: self.reach.of_class(name) for name in self.reach.classes}}
        return {
            "file": str(self.path),
            "method": self.method,
            "windows_per_image": self.reach.windows,
            "windows": [*self.reach.counts, "all"],
            "objects": len(self.reach.labels),
            "recall": {f"{t:g}": row.tolist() for t, row in zip(THRESHOLDS, self.reach.recall(), strict=True)},
            "average_recall": self.reach.average_recall().tolist(),
            "classes": {
                name: {
                    "objects": len(group.labels),
                    "recall": {f"{t:g}": row.tolist() for t, row in zip(THRESHOLDS, group.recall(), strict=True)},
                    "average_recall": group.average_recall().tolist(),
                }
                for name, group in groups.items()
                if name != "all"
            },
        }


@dataclass(frozen=True)
class RecallSummary:
    """``images`` and ``objects`` evaluated, difficult ones not counted; ``plot``: the picture drawn, if one was."""

    files: tuple[FileRecall, ...]
    images: int
    objects: int
    split: str
    plot: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "images": self.images,
            "objects": self.objects,
            "files": [file.to_json() for file in self.files],
        }


def run(
    paths: Sequence[Path],
    split: str = "test",
    *,
    dataset: Path | None = None,
    plot: Path | None = None,
    options: RunOptions = USUAL,
) -> RecallSummary:
    """Recall of the proposals of each file in ``paths``, on the images of ``split``.

    Args:
        dataset: where the data set lies; by default where the first file was made of.
        plot: PNG to draw the curves into.

    Raises:
        MissingInput: no such file, data set or split, or a file without any image of the split.
        BadInput: no annotations, or no object in the split.
    """
    progress = options.progress
    stored = [read_proposals(path) for path in paths]
    opened = _open(stored[0], dataset)
    require_annotations(opened)
    if plot:
        claim(plot, PICTURE, inputs=paths, data=opened, overwrite=options.overwrite)
    wanted = opened.labelled(opened.split(split))
    truth = {image_id: opened.annotations(image_id) for image_id in wanted}
    for warning in opened.remarks():
        progress.warn(warning)
    objects = sum(int(np.count_nonzero(~annotations.difficult)) for annotations in truth.values())
    if not objects:
        raise nothing_shown(opened, split)
    progress.start(len(stored), "files")
    files = []
    for proposals in stored:
        files.append(_recall(proposals, truth, split, progress))
        progress.advance()
    if plot:
        from sppcli.report.recall_plot import draw_recall

        draw_recall(plot, [(_label(file, files), file.reach) for file in files])
    return RecallSummary(tuple(files), len(wanted), objects, split, plot)


def _open(proposals: Proposals, dataset: Path | None) -> Dataset:
    digests = dict(zip(proposals.images.ids, proposals.images.digests, strict=True))
    return reopen(proposals.path, proposals.header.source, dataset, images_needed=False, digests=digests)


def _recall(proposals: Proposals, truth: dict[str, Annotations], split: str, progress: Progress) -> FileRecall:
    rows = {image_id: row for row, image_id in enumerate(proposals.images.ids) if image_id in truth}
    unseen = [image_id for image_id in truth if image_id not in rows]
    if not rows:
        raise MissingInput(
            f"{proposals.path} covers no image of split {split}: it has {proposals.images.ids[0]!r}, the split "
            f"{unseen[0]!r}; name the split or DATASET that it was made of"
        )
    if unseen:
        progress.warn(
            f"{proposals.path} lacks {count_of(len(unseen), 'image')} of split {split}, whose objects count as missed, "
            f"the first: {unseen[0]}"
        )
    windows = {image_id: proposals.of(row) for image_id, row in rows.items()}
    return FileRecall(proposals.path, _method(proposals), reach(windows, truth))


def _method(proposals: Proposals) -> str:
    """Name the methods that made the proposals, including those of imported ones where their files say so."""
    method = str(proposals.header.config.get("method", ""))
    imported = [item["method"] for item in proposals.header.source.get("imports", []) if item["method"]]
    return f"{method} ({', '.join(imported)})" if imported else method


def _label(file: FileRecall, files: Sequence[FileRecall]) -> str:
    """A file's name; its path where two files have the same name."""
    same = sum(other.path.name == file.path.name for other in files)
    return str(file.path) if same > 1 else file.path.stem
