"""Images of a split through SVMs, from the conv maps of features.h5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sppcli.detection.scoring import UnionScorer
from sppcli.detection.split import SplitData
from sppcli.runtime.prefetch import prefetch
from sppcli.structures import Found


def over_features(splits: Sequence[SplitData], score: UnionScorer) -> Iterator[Found]:
    first = splits[0]

    def load(i: int) -> Found:
        image = first.images[i]
        maps = [data.maps(data.images[i]) for data in splits]
        found = score(maps, first.windows(image))
        return Found(first.image_id(image), first.features.images.paths[image.index], maps[0].size, found)

    yield from prefetch(load, range(len(first.images)), ahead=1)
