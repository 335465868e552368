"""From proposals.h5 and features.h5 to bbox.h5: ridge regression from a region's features to its object's box."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.models import read_bbox, write_bbox
from sppcli.artefacts.output import Output
from sppcli.artefacts.shards import for_classes
from sppcli.artefacts.store import Header
from sppcli.datasets.formats import require_annotations
from sppcli.detection.box_training import BoxTrainer, FoundExamples, RegressorSummary
from sppcli.detection.box_training import TrainBboxConfig as TrainBboxConfig
from sppcli.detection.split import open_split
from sppcli.detection.training_plan import dealt_classes, plan_training
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.shards import Shard
from sppcli.runtime.trackers import Log, TrackedRun, rows_of_classes

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainBboxSummary:
    path: Path
    images: int
    layer: str
    levels: tuple[int, ...]
    classes: tuple[RegressorSummary, ...]
    up_to_date: bool = False


@one_at_a_time
@announces_compiling
def run(
    proposals_path: Path,
    features_path: Path,
    output: Path,
    config: TrainBboxConfig,
    *,
    dataset: Path | None = None,
    weights: str | None = None,
    shard: Shard | None = None,
    options: RunOptions = USUAL,
) -> TrainBboxSummary:
    """Fit one regressor per class to the proposals of a split that overlap an object well, and to the objects
    themselves.

    ``shard``: those of its part of the classes only, each as it would be among all of them.

    Raises:
        as `train_svm.run`.
    """
    progress = options.progress
    with open_split(proposals_path, features_path, config.split, dataset) as data:
        data.claim(output, "bbox", weights, options.overwrite)
        training = plan_training(data, config.windows, asdict(config), weights, options.device)
        header = for_classes(Header("bbox", training.settings, training.inputs), shard)
        log = Log(TrackedRun("train-bbox", output, header.fingerprint, training.settings), options)
        if Output(output, header, [proposals_path, features_path]).is_current(options.force):
            return _summary(output, log, up_to_date=True)
        training.warn_of_data(progress)
        if config.flip:
            data = data.with_mirrors()
        classes = data.to_learn()
        mine = dealt_classes(classes, shard)
        found = FoundExamples(data, classes, config)
        normaliser, arrays, rows = BoxTrainer(training, data, found, config, progress, mine).train()
    summary = {
        "features": training.record(normaliser.factor).to_json(),
        "images": len(training.data.images),
        "classes": [asdict(row) for row in rows],
    }
    whole = Header("bbox", training.settings, training.inputs, training.source, summary)
    write_bbox(output, for_classes(whole, shard), mine, arrays)
    return _summary(output, log)


def extent(
    proposals_path: Path, features_path: Path, config: TrainBboxConfig, *, dataset: Path | None = None
) -> tuple[int, int]:
    """How many classes there are to fit, and how many images that of any of them goes through.

    Raises:
        as `run`.
    """
    with open_split(proposals_path, features_path, config.split, dataset) as data:
        require_annotations(data.dataset)
        return len(data.to_learn()), len(data.images) * (1 + config.flip)


def _summary(path: Path, log: Log, up_to_date: bool = False) -> TrainBboxSummary:
    model = read_bbox(path, whole=False)
    stored = model.header.summary
    rows = tuple(RegressorSummary(**row) for row in stored["classes"])
    log.add(rows_of_classes(map(asdict, rows)), over=True)
    return TrainBboxSummary(path, stored["images"], model.record.layer, model.record.levels, rows, up_to_date)
