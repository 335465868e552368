"""Applies svm.h5 (and bbox.h5) to features.h5, or a network to a split's images, which gives detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sppcli.artefacts.detections import DetectionsFile, count_detections, read_detections
from sppcli.artefacts.output import Output
from sppcli.artefacts.proposals import of_shard
from sppcli.artefacts.shards import for_shard, shard_of
from sppcli.artefacts.store import Header, digest_of
from sppcli.detection.detecting import DetectConfig as DetectConfig
from sppcli.detection.detecting import DetectSummary as DetectSummary
from sppcli.detection.detecting import ResultsFile as ResultsFile
from sppcli.detection.detecting import Sink, claim_outputs, gather, summary_of, write_found
from sppcli.detection.detections_header import of_split
from sppcli.detection.models import DetectPaths, read_models
from sppcli.detection.over_features import over_features, union_scorer
from sppcli.detection.scoring import DetectSettings
from sppcli.detection.split import ImageSplit, SplitData, open_images, open_splits
from sppcli.errors import StaleArtefact
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.counts import count_of
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.shards import Shard
from sppcli.structures import Found


@one_at_a_time
@kept_memory()
@announces_compiling
def run(
    paths: DetectPaths,
    config: DetectConfig,
    *,
    output: Path | None = None,
    sink: Sink | None = None,
    results: ResultsFile | None = None,
    dataset: Path | None = None,
    known: DetectionsFile | None = None,
    shard: Shard | None = None,
    options: RunOptions = USUAL,
) -> DetectSummary:
    """Detect in the images of a split (those in ``shard``), from the conv maps of features.h5.

    Args:
        output: detections.h5 to write; its header records ``config``, so that it can be made again.
        sink: told of each image's detections as they are found.
        results: the file that ``sink`` writes, if it writes one.
        known: what ``output`` holds, if it has been read.

    Raises:
        MissingInput: an input is not there; says which command makes it.
        StaleArtefact: features of other proposals, or models of another network.
    """
    asked = _Asked(paths, config, output, sink, results, dataset, known, shard, options)
    return _by_network(asked, paths.network) if paths.network else _by_models(asked)


@dataclass(frozen=True)
class _Asked:
    """The arguments of `run`."""

    paths: DetectPaths
    config: DetectConfig
    output: Path | None
    sink: Sink | None
    results: ResultsFile | None
    dataset: Path | None
    known: DetectionsFile | None
    shard: Shard | None
    options: RunOptions

    def make(
        self,
        header: Header,
        data: SplitData | ImageSplit,
        classes: tuple[str, ...],
        corrected: bool,
        lacking: str,
        find: Callable[[], Iterator[Found]],
    ) -> DetectSummary:
        """Take what ``find`` finds in the images of ``data``, unless ``output`` has it already.

        ``lacking``: what the missing images of ``data`` have none of.
        """
        output, files, progress = self.output, self.paths.files(), self.options.progress
        if self.known is None:  # What was read as detections is what this stage makes.
            claim_outputs(output, self.results, data.dataset, files, self.options)
        there = self.known.header if self.known else None
        if output and not self.sink and Output(output, header, files).is_current(self.options.force, there):
            count = count_detections(output, self.known)
            return DetectSummary(output, len(data.images), count, classes, corrected, up_to_date=True)
        if data.missing:
            progress.warn(
                f"split {data.split}: {count_of(len(data.missing), 'image has', 'images have')} no {lacking}, "
                f"so nothing is detected there, the first: {data.missing[0]}"
            )
        coming = find()
        if self.sink:
            self.sink.begin(data.dataset, data.split, classes)
        found = gather(coming, len(data.images), progress, self.sink)
        if output:
            write_found(output, header, found, classes)
        return summary_of(output, found, classes, corrected)


def _by_models(asked: _Asked) -> DetectSummary:
    """With SVMs, from the conv maps of features.h5."""
    paths, config = asked.paths, asked.config
    models = read_models(paths.models, config.bbox, config.svd)
    features = [item.features for item in paths.models]
    with open_splits(paths.proposals, features, config.split, asked.dataset, of_shard(asked.shard)) as splits:
        header = of_split(paths, config.to_json(), models, splits, asked.shard)
        mine = tuple(data.of(asked.shard) for data in splits)

        def find() -> Iterator[Found]:
            return over_features(mine, union_scorer(models, mine, config.settings, asked.options, config.svd))

        corrected = any(pair.bbox for pair in models)
        return asked.make(header, mine[0], models[0].svm.classes, corrected, "features", find)


def _by_network(asked: _Asked, network: Path) -> DetectSummary:
    """With a network of `spp train-detector`, from the images and proposals.h5 alone."""
    from sppcli.detection.detector import NetworkDetector
    from sppcli.detection.network_scoring import over_split

    paths, config = asked.paths, asked.config
    detector = NetworkDetector(network, config.settings, device=asked.options.device, progress=asked.options.progress)
    data = open_images(paths.proposals, config.split, asked.dataset, of_shard(asked.shard))
    inputs = {
        "proposals": data.proposals.fingerprint,
        "network": detector.fingerprint,
        "images": digest_of([data.image_id(image) for image in data.images]),
    }
    header = Header("detections", config.to_json(), inputs, {**data.proposals.header.source, "inputs": paths.to_json()})
    header = for_shard(header, asked.shard, *data.listed())
    mine = data.of(asked.shard)
    return asked.make(
        header, mine, detector.classes, True, "region proposals", lambda: over_split(mine, detector.scorer)
    )


def ensure(
    path: Path, split: str, *, dataset: Path | None = None, options: RunOptions = USUAL
) -> tuple[DetectionsFile, DetectSummary | None]:
    """What the detections file ``path`` holds, made first if it is not there, or again if its inputs have changed, by
    its own options; and the summary of that run, None where there was nothing to do.

    Detections of new images, or with nothing there to make them from, are taken as they are.
    """
    known = read_detections(path) if path.exists() else None
    if known and (shard := shard_of(known.header)):
        raise StaleArtefact(f"{path} is shard {shard} of its detections; merge it with the others first, by spp merge")
    made = recorded(known.header) if known else (DetectConfig(split=split), DetectPaths())
    if known and (made is None or not made[1].all_there()):
        return known, None
    assert made is not None
    config, paths = made
    summary = run(paths, config, output=path, dataset=dataset, known=known, options=options)
    return (known, None) if known and summary.up_to_date else (read_detections(path), summary)


def recorded(header: Header) -> tuple[DetectConfig, DetectPaths] | None:
    """The options and inputs that made a detections file; None if it was made of new images, not of a split."""
    if "proposals" not in header.inputs:
        return None
    config, source = header.config, header.source
    paths = DetectPaths.from_json(source["inputs"]) if "inputs" in source else DetectPaths()
    settings, svd = DetectSettings(**config["settings"]), tuple(config.get("svd", ()))
    made = {name: config[name] for name in ("split", "bbox", "recipe")}
    return DetectConfig(settings=settings, svd=svd, **made), paths
