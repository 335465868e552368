"""From proposals.h5 and features.h5 to svm.h5: one linear SVM per class, with hard negative mining."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.models import read_svm, write_svm
from sppcli.artefacts.output import Output
from sppcli.artefacts.proposals import propose_settings
from sppcli.artefacts.shards import for_classes
from sppcli.artefacts.store import Header
from sppcli.datasets.formats import require_annotations
from sppcli.detection.split import open_split
from sppcli.detection.svm_training import SvmTrainer, trained_classes
from sppcli.detection.svm_training import TrainSvmConfig as TrainSvmConfig
from sppcli.detection.training_plan import dealt_classes, plan_training
from sppcli.errors import UsageProblem
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import NoProgress
from sppcli.runtime.shards import Shard
from sppcli.runtime.trackers import Log, TrackedRun, rows_of_classes

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassSummary:
    """Training of one class: samples at the end, how often it was trained, negatives dropped on the way."""

    name: str
    positives: int
    negatives: int
    trainings: int
    dropped: int


@dataclass(frozen=True)
class TrainSvmSummary:
    path: Path
    images: int
    layer: str
    levels: tuple[int, ...]
    normalize: str
    classes: tuple[ClassSummary, ...]
    up_to_date: bool = False


@one_at_a_time
@announces_compiling
def run(
    proposals_path: Path,
    features_path: Path,
    output: Path,
    config: TrainSvmConfig,
    *,
    dataset: Path | None = None,
    weights: str | None = None,
    shard: Shard | None = None,
    options: RunOptions = USUAL,
) -> TrainSvmSummary:
    """Train on the images of a split; positives are the objects, negatives are proposals that overlap them little.

    ``shard``: train its part of the classes only, each as it would be trained among all of them.

    Raises:
        MissingInput, BadInput: no such file, split or class, or no object to learn from.
        StaleArtefact: features of other proposals, or weights of another trunk.
        UsageProblem: a layer or pyramid that the network does not have, or more shards than classes.
    """
    progress = options.progress
    with open_split(proposals_path, features_path, config.split, dataset) as data:
        data.claim(output, "svm", weights, options.overwrite)
        if config.jitter and data.features.rcnn:
            raise UsageProblem("--jitter draws boxes that R-CNN's features do not have; leave it out")
        training = plan_training(data, config.windows, asdict(config), weights, options.device)
        classes = trained_classes(data, config.classes, progress)
        settings = {**training.settings, "classes": list(classes)}
        mine = dealt_classes(classes, shard)
        header = for_classes(Header("svm", settings, training.inputs), shard)
        log = Log(TrackedRun("train-svm", output, header.fingerprint, settings), options)
        if Output(output, header, [proposals_path, features_path]).is_current(options.force):
            return _summary(output, log, up_to_date=True)
        training.warn_of_data(progress)
        seen = data.with_mirrors() if config.flip else data
        trainer = SvmTrainer(seen, training.reader, config, classes, progress, mine)
        normaliser, miners = trainer.train()
    rows = tuple(
        ClassSummary(miner.name, len(miner.positives), miner.negatives, miner.trainings, miner.dropped)
        for miner in miners
    )
    summary = {
        "features": training.record(normaliser.factor).to_json(),
        "images": len(data.images),
        # What detection in new images must do alike.
        "scales": list(data.features.scales),
        "precision": data.features.header.config["precision"],
        "proposals": propose_settings(data.proposals),
        "classes": [asdict(row) for row in rows],
    }
    models = [miner.model for miner in miners]
    write_svm(
        output,
        for_classes(Header("svm", settings, training.inputs, training.source, summary), shard),
        mine,
        np.stack([model.weights for model in models if model]),
        np.array([model.bias for model in models if model], dtype=np.float32),
    )
    return _summary(output, log)


def extent(
    proposals_path: Path, features_path: Path, config: TrainSvmConfig, *, dataset: Path | None = None
) -> tuple[int, int]:
    """How many classes there are to train, and how many images the training of any of them goes through.

    Raises:
        as `run`.
    """
    with open_split(proposals_path, features_path, config.split, dataset) as data:
        require_annotations(data.dataset)
        classes = trained_classes(data, config.classes, NoProgress())
        return len(classes), len(data.images) * (1 + config.flip) * config.passes


def _summary(path: Path, log: Log, up_to_date: bool = False) -> TrainSvmSummary:
    model = read_svm(path, whole=False)
    stored = model.header.summary
    rows = tuple(ClassSummary(**row) for row in stored["classes"])
    log.add(rows_of_classes(map(asdict, rows)), over=True)
    record = model.record
    return TrainSvmSummary(path, stored["images"], record.layer, record.levels, record.normalize, rows, up_to_date)
