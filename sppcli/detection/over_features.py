"""Images of a split through SVMs, from the conv maps of features.h5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sppcli.detection.models import Model, heads_over_maps
from sppcli.detection.scoring import DetectSettings, Scorer, UnionScorer
from sppcli.detection.split import SplitData
from sppcli.detection.svd_cache import SvdCache
from sppcli.runtime.options import RunOptions
from sppcli.runtime.prefetch import prefetch
from sppcli.structures import Found


def union_scorer(
    models: Sequence[Model],
    splits: Sequence[SplitData],
    settings: DetectSettings,
    options: RunOptions,
    svd: tuple[int, ...] = (),
) -> UnionScorer:
    """The models over the maps of their splits; ``svd``: ranks to truncate fc layers to that were trained whole.

    Raises:
        StaleArtefact: a model of other fc layers.
        UsageProblem: ranks that do not fit, or no such device.
    """
    progress = options.progress
    scorers = []
    for pair, data in zip(models, splits, strict=True):
        svm = pair.svm
        if data.features.scales != tuple(svm.header.summary["scales"]):
            progress.warn(f"{svm.path} was trained at other scales than {data.features.path} holds")
        heads = heads_over_maps(pair, data.features, svd, SvdCache(svm.path, progress))
        place = None
        if any(heads):
            # Brings torch, which pool5 does without.
            from sppcli.features.conv_maps import choose_device, gpu

            place = gpu(choose_device(options.device))
        scorers.append(Scorer(svm, pair.bbox, data.features.scales, heads, place))
    return UnionScorer(scorers, settings)


def over_features(splits: Sequence[SplitData], score: UnionScorer) -> Iterator[Found]:
    first = splits[0]

    def load(i: int) -> Found:
        image = first.images[i]
        maps = [data.maps(data.images[i]) for data in splits]
        found = score(maps, first.windows(image))
        return Found(first.image_id(image), first.features.images.paths[image.index], maps[0].size, found)

    yield from prefetch(load, range(len(first.images)), ahead=1)
