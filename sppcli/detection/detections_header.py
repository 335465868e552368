"""What made a file of detections in a split, as its header says it: models, features and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sppcli.artefacts.models import check_trunk
from sppcli.artefacts.shards import for_shard
from sppcli.artefacts.store import Header, digest_of
from sppcli.detection.models import DetectPaths, Model, model_inputs, numbered
from sppcli.detection.split import SplitData
from sppcli.runtime.shards import Shard


def of_split(
    paths: DetectPaths,
    config: Mapping[str, Any],
    models: Sequence[Model],
    splits: Sequence[SplitData],
    shard: Shard | None,
) -> Header:
    """Of detections in the images of a split (those in ``shard``); models and features must belong together.

    Raises:
        StaleArtefact: a model of another network.
    """
    for pair, data in zip(models, splits, strict=True):
        for model in pair:
            if model is not None:
                check_trunk(model, data.features)
    first = splits[0]
    inputs = {
        "proposals": first.proposals.fingerprint,
        **numbered("features", [data.features.fingerprint for data in splits]),
        **model_inputs(models),
        "images": digest_of([first.image_id(image) for image in first.images]),
    }
    source = {**first.proposals.header.source, **({} if paths == DetectPaths() else {"inputs": paths.to_json()})}
    return for_shard(Header("detections", dict(config), inputs, source), shard, *first.listed())
