"""From images to image-features.h5: one vector per whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sppcli.artefacts.features import NetworkRecord
from sppcli.artefacts.image_features import ImageFeatures, read_image_features, write_image_features
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.parts import Parts, discard_finished, parts_folder
from sppcli.artefacts.proposals import source_json
from sppcli.artefacts.reading import Reader, open_checked
from sppcli.artefacts.shards import for_shard
from sppcli.artefacts.store import Header, digest_of
from sppcli.datasets.classification import ClassifiedImages, open_classified
from sppcli.detection.networks import head_of, record_of
from sppcli.detection.per_image import ListedImages, PerImage
from sppcli.detection.training_plan import choose_levels
from sppcli.errors import BadArtefact, BadInput
from sppcli.features.conv_maps import choose_device, choose_precision
from sppcli.features.normalise import Normaliser
from sppcli.features.whole_images import WholeImageReader, centre_square
from sppcli.images import Normalisation, check_scales, decode, digest, read_bytes, resize, size_at
from sppcli.nets.weights import load_network
from sppcli.runtime.batches import same_shape
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.files import check_room
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import Progress
from sppcli.runtime.shards import Shard
from sppcli.structures import FloatArray, Skipped

Int64 = npt.NDArray[np.int64]

_PIXELS_AT_ONCE = 2**21
"""Bytes that the first layers' maps may take in all current batches; with VGG-16 this is about 1 GB."""
_VECTORS_A_PART = 512


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """``weights``, ``backbone``, ``cut``, ``normalisation``: see `nets.weights.load_network`.

    ``side``: length of the image's shorter side, in pixels. ``views``: full, or crop for the centre square alone.
    ``pyramid`` None: the network's. ``normalize``: l2 or none. ``batch``: at most so many images at once.
    """

    weights: str = "imagenet"
    backbone: str | None = None
    cut: str | None = None
    normalisation: str | None = None
    side: int = 256
    views: str = "full"
    layer: str = "pool5"
    pyramid: tuple[int, ...] | None = None
    normalize: str = "l2"
    flip: bool = False
    precision: str = "auto"
    batch: int = 32


@dataclass(frozen=True)
class FeaturesSummary:
    """``computed``: images run through the network now; ``kept``: taken over."""

    path: Path
    kind: str
    images: int
    features: int
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    network: NetworkRecord
    layer: str
    levels: tuple[int, ...]
    computed: int
    kept: int
    skipped: tuple[Skipped, ...]
    up_to_date: bool = False


@one_at_a_time
@kept_memory()
@announces_compiling
def run(
    sources: Sequence[Path],
    output: Path,
    config: FeaturesConfig,
    *,
    shard: Shard | None = None,
    options: RunOptions = USUAL,
) -> FeaturesSummary:
    """Compute the vector of every image of ``sources``, or of those in ``shard``.

    Vectors that an unfinished run, or an earlier ``output`` of the same options, already has are taken over; images are
    known by content. A damaged image is skipped, warned of and listed in the file. All vectors are held in memory.

    Raises:
        MissingInput, BadInput: no image, no weights, or weights that do not fit; with ``strict``, an image that cannot
            be read.
        UsageProblem: a backbone, layer, pyramid or device that does not exist.
    """
    progress = options.progress
    data = open_classified(sources)
    for warning in data.warnings:
        progress.warn(warning)
    claim(output, "image-features", inputs=[Path(config.weights)], data=data, overwrite=options.overwrite)
    network = load_network(config.weights, config.backbone, config.cut, config.normalisation, whole_images=True)
    for note in network.notes:
        progress.warn(note)
    head, head_digest = head_of(network, config.layer)
    levels = choose_levels(record_of(network), config.layer, config.pyramid, head)
    device = choose_device(options.device)
    precision = choose_precision(config.precision, device)
    images = ListedImages.of(data.images, data.root, shard)
    settings = _settings(config, record_of(network), head_digest, levels, precision)
    header = Header("image-features", settings, _inputs(data, images, shard), _source(data, config))
    header = for_shard(header, shard, images.ids, images.paths)
    summarise = partial(_summary, network=record_of(network), layer=config.layer, levels=levels)
    made_with = digest_of(header.config)
    if Output(output, header, [item.path for item in data.images], same_source=True).is_current(options.force):
        discard_finished(output, made_with, lambda name: _is_known(output, name, images))
        old = read_image_features(output)
        return summarise(old, computed=0, kept=len(old.images), up_to_date=True)
    reader = WholeImageReader(network, device, precision, levels, config.layer, head, config.flip)
    parts = Parts(output, made_with, discard=options.force)
    table = _Vectors(images.digests, reader.check_side(config.side))
    if not options.force:
        table.take_over(output, header.config, parts)
    kept = int(np.count_nonzero(table.done))
    work = PerImage.of_shard(images, images.digests, shard, output, options)
    for row, problem in images.unreadable.items():
        work.skip(row, problem)
    todo = work.todo(table.has)
    _check_room(output, 4 * len(todo) * reader.check_side(config.side), progress)
    progress.start(len(todo), "images")
    load = _loader(data, config, network.normalisation, images.digests)
    _compute(work, todo, load, config, reader, table, parts)
    good = work.good()
    progress.note("writing")
    result = ImageFeatures(
        output,
        work.noted(header, images),
        work.table(images, good, table.sizes[good]),
        table.vectors[good],
        data.classes,
        data.labels[good],
        data.splits,
        data.in_split[good],
    )
    write_image_features(result)
    parts.discard()
    work.attempts.discard()
    return summarise(result, computed=len(good) - kept, kept=kept)


def _check_room(output: Path, size: int, progress: Progress) -> None:
    """The vectors take ``size`` bytes; their parts are kept until the file is whole."""
    if warning := check_room(output, size, 2 * size):
        progress.warn(warning)


def _is_known(output: Path, part: str, images: ListedImages) -> bool:
    """Whether ``output``, which has all of ``images``, has those of the part; of a damaged one nothing is lost."""
    path = parts_folder(output) / f"{part}.h5"
    try:
        with open_checked(path, "") as (checked, file):
            return set(Reader(path, checked, file).strings("digests")) <= set(images.digests)
    except BadArtefact:
        return True


def _compute(
    work: PerImage,
    todo: Sequence[int],
    load: Callable[[int], _Loaded],
    config: FeaturesConfig,
    reader: WholeImageReader,
    table: _Vectors,
    parts: Parts,
) -> None:
    """Vectors of the images ``todo`` into ``table``, in their turns."""
    with work.attempts.in_order():
        for turn in work.turns(todo):
            loaded = (item for _, item in work.readable(turn, load, ahead=2 * config.batch))
            for rows, vectors in _batches(loaded, config, reader):
                table.put(rows, vectors, parts)
                work.ended([row for row, _ in rows])
                work.options.progress.advance(len(rows))


def _summary(
    file: ImageFeatures,
    *,
    network: NetworkRecord,
    layer: str,
    levels: tuple[int, ...],
    computed: int,
    kept: int,
    up_to_date: bool = False,
) -> FeaturesSummary:
    return FeaturesSummary(
        file.path,
        file.kind,
        len(file.images),
        file.vectors.shape[1],
        file.classes,
        file.splits,
        network,
        layer,
        levels,
        computed,
        kept,
        file.images.skipped,
        up_to_date,
    )


def _settings(
    config: FeaturesConfig, network: NetworkRecord, head_digest: str, levels: tuple[int, ...], precision: str
) -> dict[str, Any]:
    """What decides the vectors."""
    return {
        "network": network.to_json(),
        "head": head_digest,
        "layer": config.layer,
        "pyramid": list(levels),
        "side": config.side,
        "views": config.views,
        "normalize": config.normalize,
        "flip": config.flip,
        "precision": precision,
    }


def _inputs(data: ClassifiedImages, images: ListedImages, shard: Shard | None) -> dict[str, str]:
    labels = [data.kind, data.classes, data.labels.tolist(), data.splits, data.in_split.tolist()]
    return {"images": images.fingerprint(shard), "labels": digest_of(labels)}


def _source(data: ClassifiedImages, config: FeaturesConfig) -> dict[str, object]:
    network = {"weights": config.weights, "backbone": config.backbone, "cut": config.cut, "reads": config.normalisation}
    return {**source_json(data.kind, [str(path) for path in data.sources], str(data.root)), "network": network}


class _Vectors:
    """Vectors of all images as they come in, each content once; committed to parts every few hundred.

    ``done`` (N,) bool; ``vectors`` (N, D) float32; ``sizes`` (N, 2) int64, height and width of the image.
    """

    def __init__(self, digests: Sequence[str], width: int) -> None:
        self._rows: dict[str, list[int]] = {}
        for row, value in enumerate(digests):
            self._rows.setdefault(value, []).append(row)
        self._digests = digests
        self._waiting: list[int] = []
        self.vectors: FloatArray = np.zeros((len(digests), width), dtype=np.float32)
        self.sizes: Int64 = np.zeros((len(digests), 2), dtype=np.int64)
        self.done = np.zeros(len(digests), dtype=np.bool_)

    def has(self, digest: str) -> bool:
        """Whether the vector of this content, of one of the images, is there."""
        return bool(self.done[self._rows[digest][0]])

    def take_over(self, output: Path, settings: dict[str, object], parts: Parts) -> None:
        """What ``output``, if it was made with the same ``settings``, and unfinished ``parts`` already hold."""
        for name in parts.names():
            with parts.open(name) as part:
                self._take(part.strings("digests"), part.array("vectors"), part.array("sizes"))
        try:
            old = read_image_features(output) if output.exists() else None
        except BadArtefact:
            old = None  # about to be replaced
        if old is not None and digest_of(old.header.config) == digest_of(settings):
            self._take(old.images.digests, old.vectors, old.images.sizes)

    def put(self, found: Sequence[tuple[int, tuple[int, int]]], vectors: FloatArray, parts: Parts) -> None:
        """Vectors of the rows and image sizes ``found``."""
        for (row, size), vector in zip(found, vectors, strict=True):
            self._set(self._digests[row], vector, np.asarray(size))
            self._waiting.append(row)
        if len(self._waiting) >= _VECTORS_A_PART:
            digests = [self._digests[row] for row in self._waiting]
            with parts.create(digest_of(digests)) as part:
                part.strings("digests", digests)
                part.array("vectors", self.vectors[self._waiting])
                part.array("sizes", self.sizes[self._waiting])
            self._waiting.clear()

    def _take(self, digests: Sequence[str], vectors: FloatArray, sizes: Int64) -> None:
        for value, vector, size in zip(digests, vectors, sizes, strict=True):
            self._set(value, vector, size)

    def _set(self, value: str, vector: FloatArray, size: Int64) -> None:
        for row in self._rows.get(value, ()):
            self.vectors[row], self.sizes[row], self.done[row] = vector, size, True


@dataclass(frozen=True)
class _Loaded:
    """An image as the network reads it, (H, W, 3) float32, with its own height and width."""

    row: int
    path: Path
    size: tuple[int, int]
    pixels: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


def _loader(
    data: ClassifiedImages, config: FeaturesConfig, normalisation: Normalisation, digests: Sequence[str]
) -> Callable[[int], _Loaded]:
    def load(row: int) -> _Loaded:
        path = data.images[row].path
        content = read_bytes(path)
        if digest(content) != digests[row]:
            raise BadInput(f"{path} has changed while it was being read; run spp features again")
        image = decode(content, str(path))
        height, width = image.shape[:2]
        check_scales(height, width, (config.side,), str(path))
        view = resize(image, *size_at(height, width, config.side))
        if config.views == "crop":
            view = centre_square(view)
        return _Loaded(row, path, (height, width), normalisation.apply(view))

    return load


def _batches(
    images: Iterable[_Loaded], config: FeaturesConfig, reader: WholeImageReader
) -> Iterator[tuple[list[tuple[int, tuple[int, int]]], FloatArray]]:
    """(row, image size) and vectors of images of equal size.

    On a CPU each core has a batch of its own: the layers of small images are too short to be shared out among threads.
    """
    threads = cpu_threads() if reader.on_cpu else 1
    normaliser = Normaliser(config.normalize, 1.0)

    def at_once(shape: tuple[int, int]) -> int:
        return max(1, min(config.batch, _PIXELS_AT_ONCE // threads // (shape[0] * shape[1])))

    def vectors_of(batch: list[_Loaded]) -> tuple[list[tuple[int, tuple[int, int]]], FloatArray]:
        vectors = reader([loaded.pixels for loaded in batch])
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            path = batch[int(np.argmin(finite))].path
            raise BadInput(f"{path}: an activation is not finite; is --input what the weights were trained on?")
        return [(loaded.row, loaded.size) for loaded in batch], normaliser.apply(vectors)

    before = torch.get_num_threads()
    torch.set_num_threads(1 if reader.on_cpu else before)
    try:
        batches = same_shape(images, lambda loaded: loaded.shape, at_once, 4 * config.batch)
        yield from prefetch(vectors_of, batches, 2 * threads, threads)
    finally:
        torch.set_num_threads(before)
