"""Proposals, conv maps and ground truth of the images of one split, for training and detection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from sppcli.artefacts.features import Features, ImageMaps, ImageVectors, open_features
from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.proposals import Proposals, Wanted, read_proposals
from sppcli.datasets.base import Dataset
from sppcli.datasets.reopen import reopen
from sppcli.errors import BadInput, UsageProblem
from sppcli.geometry.boxes import flip
from sppcli.images import decode, digest, read_bytes
from sppcli.runtime.shards import Shard, rows_of
from sppcli.structures import Annotations, Boxes, ByteImage, ImageRef


@dataclass(frozen=True, kw_only=True)
class _SplitImages(ABC):
    """Images of one split, their region proposals and ground truth.

    ``images``: by their rows in `table`, in order of id; ``missing``: ids of the split that it does not hold.
    """

    proposals: Proposals
    dataset: Dataset
    split: str
    images: tuple[ImageRef, ...]
    missing: tuple[str, ...]

    @property
    @abstractmethod
    def table(self) -> ImageTable:
        """The images that ``images`` are rows of."""

    def image_id(self, image: ImageRef) -> str:
        return self.table.ids[image.index]

    def listed(self) -> tuple[list[str], list[str]]:
        """Ids and paths of the images."""
        table = self.table
        return [table.ids[image.index] for image in self.images], [table.paths[image.index] for image in self.images]

    def of(self, shard: Shard | None) -> Self:
        """Those of the images that are in ``shard``; all without one."""
        images = tuple(self.images[row] for row in rows_of(shard, self.listed()[0]))
        return replace(self, images=images, missing=tuple(self.missing[row] for row in rows_of(shard, self.missing)))

    def _as_seen(self, image: ImageRef, boxes: Boxes) -> Boxes:
        return flip(boxes, int(self.table.sizes[image.index][1])) if image.mirrored else boxes

    def windows(self, image: ImageRef) -> Boxes:
        """Region proposals (N, 4) of the image."""
        return self._as_seen(image, self.proposals.of(self.proposals.images.row_of[self.image_id(image)]))

    def truth(self, image: ImageRef) -> Annotations:
        truth = self.dataset.annotations(self.image_id(image))
        return replace(truth, boxes=self._as_seen(image, truth.boxes))

    def shown(self, images: Sequence[ImageRef] | None = None) -> tuple[str, ...]:
        """Names of the classes that the images, or those of them that are given, show; in order."""
        looked_at = self.images if images is None else images
        return tuple(sorted({label for image in looked_at for label in self.truth(image).labels}))

    def to_learn(self, images: Sequence[ImageRef] | None = None) -> tuple[str, ...]:
        """As `shown`, for a training.

        Raises:
            BadInput: there are none.
        """
        classes = self.shown(images)
        if not classes:
            raise BadInput(f"there is no object in split {self.split} of {self.dataset.root}; annotate some")
        return classes

    def annotation_digest(self) -> str:
        return self.dataset.annotation_digest(self.image_id(image) for image in self.images)


@dataclass(frozen=True, kw_only=True)
class SplitData(_SplitImages):
    """Images with their conv maps, or R-CNN's features; with `with_mirrors` their mirror images after them."""

    features: Features

    @property
    def table(self) -> ImageTable:
        return self.features.images

    def claim(self, output: Path, kind: str, weights: str | None = None, overwrite: bool = False) -> None:
        """Refuse to write over what is read here: see `overwriting.claim`."""
        inputs = [self.proposals.path, self.features.path, *([Path(weights)] if weights else [])]
        claim(output, kind, inputs=inputs, data=self.dataset, overwrite=overwrite)

    def with_mirrors(self) -> SplitData:
        """The same images and their mirror images.

        Raises:
            UsageProblem: the features hold no maps of them.
        """
        if not self.features.mirrored:
            raise UsageProblem(f"{self.features.path} holds no mirror images; run spp extract --flip first")
        return replace(self, images=(*self.images, *(image.mirror for image in self.images)))

    def objects_and_windows(self, image: ImageRef) -> Boxes:
        """What trainings choose examples from: ground-truth boxes first, then region proposals, as in the release."""
        return np.concatenate([self.truth(image).boxes, self.windows(image)])

    def most_windows(self) -> int:
        """Objects and proposals of the image that has the most."""
        return max((len(self.objects_and_windows(image)) for image in self.images), default=0)

    def maps(self, image: ImageRef) -> ImageMaps | ImageVectors:
        """The image's conv maps, or R-CNN's features of its regions: what a `WindowReader` reads."""
        if self.features.rcnn:
            return self.features.vectors(image.index)
        return self.features.maps(image.index, mirrored=image.mirrored)


@dataclass(frozen=True, kw_only=True)
class ImageSplit(_SplitImages):
    """Images without conv maps: those of the proposals file, whose pixels are read."""

    @property
    def table(self) -> ImageTable:
        return self.proposals.images

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return {item.id: item.path for item in self.dataset.images}

    def pixels(self, image: ImageRef) -> ByteImage:
        """The image (H, W, 3).

        Raises:
            MissingInput, BadInput: it cannot be read, or is not the one that was searched.
        """
        path = self._paths[self.image_id(image)]
        data = read_bytes(path)
        if digest(data) != self.table.digests[image.index]:
            raise BadInput(f"{path} has changed since {self.proposals.path} was made; run spp propose again")
        pixels = decode(data, str(path))
        return np.ascontiguousarray(pixels[:, ::-1]) if image.mirrored else pixels


def open_images(
    proposals_path: Path, split: str, dataset: Path | None = None, needed: Wanted | None = None
) -> ImageSplit:
    """The images of a split that `spp propose` searched; ``needed``: see `read_proposals`.

    Raises:
        MissingInput: a file, the data set or the split is not there.
    """
    proposals = read_proposals(proposals_path, needed)
    opened = reopen_dataset(proposals, dataset)
    rows = proposals.images.row_of
    wanted = opened.labelled(opened.split(split))
    images = tuple(ImageRef(rows[image_id]) for image_id in wanted if image_id in rows)
    missing = tuple(sorted(set(wanted) - set(rows)))
    return ImageSplit(proposals=proposals, dataset=opened, split=split, images=images, missing=missing)


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
    proposals_path: Path,
    features_paths: Sequence[Path],
    split: str,
    dataset: Path | None = None,
    needed: Wanted | None = None,
) -> Iterator[tuple[SplitData, ...]]:
    """As `open_split`, of several networks: image i of each is the same, one that all have features of.

    ``needed``: the images that will be worked on, if not all (see `read_proposals`); what others have is not read.
    """
    proposals = read_proposals(proposals_path, needed)
    with ExitStack() as stack:
        several = [stack.enter_context(open_features(path, lazily=needed is not None)) for path in features_paths]
        for features in several:
            features.check_proposals(proposals)
        opened = reopen_dataset(proposals, dataset)
        rows = [features.images.row_of for features in several]
        wanted = opened.labelled(opened.split(split))
        there = [image_id for image_id in wanted if all(image_id in known for known in rows)]
        missing = tuple(sorted(set(wanted) - set(there)))
        images = [tuple(ImageRef(known[image_id]) for image_id in there) for known in rows]
        yield tuple(
            SplitData(proposals=proposals, dataset=opened, split=split, images=mine, missing=missing, features=features)
            for features, mine in zip(several, images, strict=True)
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
