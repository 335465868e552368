"""Windows, conv maps and ground truth of the images of one split: what training and detection go through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sppcli.artefacts.features import Features, ImageMaps, ImageVectors, open_features
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.datasets.base import Dataset
from sppcli.datasets.reopen import reopen
from sppcli.errors import UsageProblem
from sppcli.geometry.boxes import flip
from sppcli.structures import Annotations, Boxes

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class SplitData:
    """``rows``: indices into ``features.images`` of the images of the split, in order of id.

    The row ``~i`` is the mirror image of ``i``; see `with_mirrors`.
    """

    proposals: Proposals
    features: Features
    dataset: Dataset
    split: str
    rows: tuple[int, ...]
    missing: tuple[str, ...]

    def image_id(self, row: int) -> str:
        return self.features.images.ids[max(row, ~row)]

    def with_mirrors(self) -> SplitData:
        """The same images and their mirror images.

        Raises:
            UsageProblem: the features hold no maps of them.
        """
        if not self.features.mirrored:
            raise UsageProblem(f"{self.features.path} holds no mirror images; run spp extract --flip first")
        return replace(self, rows=(*self.rows, *(~row for row in self.rows)))

    def _mirrored(self, row: int, boxes: Boxes) -> Boxes:
        return flip(boxes, int(self.features.images.sizes[~row][1])) if row < 0 else boxes

    @cached_property
    def _proposal_rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.proposals.images.ids)}

    def windows(self, row: int) -> Boxes:
        """Proposals (N, 4) of the image."""
        return self._mirrored(row, self.proposals.of(self._proposal_rows[self.image_id(row)]))

    def most_windows(self) -> int:
        """Objects and proposals of the image that has the most."""
        return max((len(self.windows(row)) + len(self.truth(row).boxes) for row in self.rows), default=0)

    def maps(self, row: int) -> ImageMaps | ImageVectors:
        """The image's conv maps, or R-CNN's features of its windows: what a `WindowReader` reads."""
        if self.features.rcnn:
            return self.features.vectors(row)
        return self.features.maps(max(row, ~row), mirrored=row < 0)

    def truth(self, row: int) -> Annotations:
        truth = self.dataset.annotations(self.image_id(row))
        return replace(truth, boxes=self._mirrored(row, truth.boxes))

    def annotation_digest(self) -> str:
        return self.dataset.annotation_digest(self.image_id(row) for row in self.rows)


@contextmanager
def open_split(
    proposals_path: Path, features_path: Path, split: str, dataset: Path | None = None
) -> Iterator[SplitData]:
    """Open what belongs together, or say what does not.

    Args:
        split: a split of the data set, or "all".
        dataset: where the data set lies now, if it is no longer where `spp propose` found it.

    Raises:
        MissingInput: a file, the data set or the split is not there.
        StaleArtefact: the features were made from other proposals.
    """
    with open_splits(proposals_path, [features_path], split, dataset) as (data,):
        yield data


@contextmanager
def open_splits(
    proposals_path: Path, features_paths: Sequence[Path], split: str, dataset: Path | None = None
) -> Iterator[tuple[SplitData, ...]]:
    """As `open_split`, of several networks: row i of each is the same image, one that all have features of."""
    proposals = read_proposals(proposals_path)
    with ExitStack() as stack:
        several = [stack.enter_context(open_features(path)) for path in features_paths]
        for features in several:
            features.check_proposals(proposals)
        opened = reopen_dataset(proposals, dataset)
        rows = [{image_id: row for row, image_id in enumerate(features.images.ids)} for features in several]
        wanted = opened.labelled(opened.split(split))
        there = [image_id for image_id in wanted if all(image_id in known for known in rows)]
        missing = tuple(sorted(set(wanted) - set(there)))
        yield tuple(
            SplitData(proposals, features, opened, split, tuple(known[image_id] for image_id in there), missing)
            for features, known in zip(several, rows, strict=True)
        )


def reopen_dataset(proposals: Proposals, dataset: Path | None = None) -> Dataset:
    """The data set that the proposals were made of."""
    return reopen(
        proposals.path,
        proposals.header.source,
        dataset,
        remedy="say where they are with --dataset",
        digests=dict(zip(proposals.images.ids, proposals.images.digests, strict=True)),
    )
