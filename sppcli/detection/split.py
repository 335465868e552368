"""Proposals, conv maps and ground truth of the images of one split, for training and detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from sppcli.artefacts.features import Features, ImageMaps, ImageVectors, open_features
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.datasets.base import Dataset
from sppcli.datasets.reopen import reopen
from sppcli.errors import BadInput, UsageProblem
from sppcli.geometry.boxes import flip
from sppcli.images import decode, digest, read_bytes
from sppcli.runtime.shards import Shard, rows_of
from sppcli.structures import Annotations, Boxes, ByteImage, ImageRef


@dataclass(frozen=True)
class SplitData:
    """``images``: those of the split, in order of id; with `with_mirrors` their mirror images after them."""

    proposals: Proposals
    features: Features
    dataset: Dataset
    split: str
    images: tuple[ImageRef, ...]
    missing: tuple[str, ...]

    def claim(self, output: Path, kind: str, weights: str | None = None, overwrite: bool = False) -> None:
        """Refuse to write over what is read here: see `overwriting.claim`."""
        inputs = [self.proposals.path, self.features.path, *([Path(weights)] if weights else [])]
        claim(output, kind, inputs=inputs, data=self.dataset, overwrite=overwrite)

    def image_id(self, image: ImageRef) -> str:
        return self.features.images.ids[image.index]

    def listed(self) -> tuple[list[str], list[str]]:
        """Ids and paths of the images."""
        table = self.features.images
        return [table.ids[image.index] for image in self.images], [table.paths[image.index] for image in self.images]

    def of(self, shard: Shard | None) -> SplitData:
        """Those of the images that are in ``shard``; all without one."""
        images, missing = _in_shard(shard, self.listed()[0], self.images, self.missing)
        return replace(self, images=images, missing=missing)

    def with_mirrors(self) -> SplitData:
        """The same images and their mirror images.

        Raises:
            UsageProblem: the features hold no maps of them.
        """
        if not self.features.mirrored:
            raise UsageProblem(f"{self.features.path} holds no mirror images; run spp extract --flip first")
        return replace(self, images=(*self.images, *(image.mirror for image in self.images)))

    def _as_seen(self, image: ImageRef, boxes: Boxes) -> Boxes:
        return flip(boxes, int(self.features.images.sizes[image.index][1])) if image.mirrored else boxes

    @cached_property
    def _proposal_rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.proposals.images.ids)}

    def windows(self, image: ImageRef) -> Boxes:
        """Region proposals (N, 4) of the image."""
        return self._as_seen(image, self.proposals.of(self._proposal_rows[self.image_id(image)]))

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

    def truth(self, image: ImageRef) -> Annotations:
        truth = self.dataset.annotations(self.image_id(image))
        return replace(truth, boxes=self._as_seen(image, truth.boxes))

    def annotation_digest(self) -> str:
        return self.dataset.annotation_digest(self.image_id(image) for image in self.images)


@dataclass(frozen=True)
class ImageSplit:
    """Images, region proposals and ground truth of one split, without conv maps.

    ``images``: by their rows in the proposals file, in order of id; ``missing``: ids that it does not hold.
    """

    proposals: Proposals
    dataset: Dataset
    split: str
    images: tuple[ImageRef, ...]
    missing: tuple[str, ...]

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return {item.id: item.path for item in self.dataset.images}

    def image_id(self, image: ImageRef) -> str:
        return self.proposals.images.ids[image.index]

    def listed(self) -> tuple[list[str], list[str]]:
        """Ids and paths of the images."""
        table = self.proposals.images
        return [table.ids[image.index] for image in self.images], [table.paths[image.index] for image in self.images]

    def of(self, shard: Shard | None) -> ImageSplit:
        """Those of the images that are in ``shard``; all without one."""
        images, missing = _in_shard(shard, self.listed()[0], self.images, self.missing)
        return replace(self, images=images, missing=missing)

    def pixels(self, image: ImageRef) -> ByteImage:
        """The image (H, W, 3).

        Raises:
            MissingInput, BadInput: it cannot be read, or is not the one that was searched.
        """
        path = self._paths[self.image_id(image)]
        data = read_bytes(path)
        if digest(data) != self.proposals.images.digests[image.index]:
            raise BadInput(f"{path} has changed since {self.proposals.path} was made; run spp propose again")
        pixels = decode(data, str(path))
        return np.ascontiguousarray(pixels[:, ::-1]) if image.mirrored else pixels

    def _as_seen(self, image: ImageRef, boxes: Boxes) -> Boxes:
        return flip(boxes, int(self.proposals.images.sizes[image.index][1])) if image.mirrored else boxes

    def windows(self, image: ImageRef) -> Boxes:
        """Region proposals (N, 4) of the image."""
        return self._as_seen(image, self.proposals.of(image.index))

    def truth(self, image: ImageRef) -> Annotations:
        truth = self.dataset.annotations(self.image_id(image))
        return replace(truth, boxes=self._as_seen(image, truth.boxes))

    def annotation_digest(self) -> str:
        return self.dataset.annotation_digest(self.image_id(image) for image in self.images)


def _in_shard(
    shard: Shard | None, ids: Sequence[str], images: Sequence[ImageRef], missing: Sequence[str]
) -> tuple[tuple[ImageRef, ...], tuple[str, ...]]:
    return tuple(images[row] for row in rows_of(shard, ids)), tuple(missing[row] for row in rows_of(shard, missing))


def open_images(proposals_path: Path, split: str, dataset: Path | None = None) -> ImageSplit:
    """The images of a split that `spp propose` searched.

    Raises:
        MissingInput: a file, the data set or the split is not there.
    """
    proposals = read_proposals(proposals_path)
    opened = reopen_dataset(proposals, dataset)
    rows = {image_id: row for row, image_id in enumerate(proposals.images.ids)}
    wanted = opened.labelled(opened.split(split))
    images = tuple(ImageRef(rows[image_id]) for image_id in wanted if image_id in rows)
    return ImageSplit(proposals, opened, split, images, tuple(sorted(set(wanted) - set(rows))))


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
    """As `open_split`, of several networks: image i of each is the same, one that all have features of."""
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
        images = [tuple(ImageRef(known[image_id]) for image_id in there) for known in rows]
        yield tuple(
            SplitData(proposals, features, opened, split, mine, missing)
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
