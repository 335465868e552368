"""proposals.h5 to features.h5: conv maps of every whole image, once a scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from sppcli.artefacts.features import Features, NetworkRecord, map_name, open_features
from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.artefacts.store import Header, Parts, create, digest_of, is_current, touch_if_older
from sppcli.engine.corpus import record_of
from sppcli.engine.cpus import cpu_threads
from sppcli.engine.prefetch import prefetch
from sppcli.engine.progress import NoProgress, Progress
from sppcli.errors import BadArtefact, BadInput, MissingInput, SppError
from sppcli.images import decode, digest, read_bytes
from sppcli.nets.maps import Extractor, choose_device, choose_precision
from sppcli.nets.weights import load_network
from sppcli.paper import DEFAULT
from sppcli.structures import ByteImage, FloatArray, Skipped


@dataclass(frozen=True)
class ExtractConfig:
    """``weights``: imagenet or a file; ``backbone``, ``cut`` and ``reads`` (how pixels are normalised, one of
    `images.INPUTS`): None for the file's own or the default."""

    weights: str = "imagenet"
    backbone: str | None = None
    cut: str | None = None
    reads: str | None = None
    scales: tuple[int, ...] = DEFAULT.scales
    precision: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class ExtractSummary:
    """``extracted``: images run through the network now; ``kept``: taken over. Sizes in bytes."""

    path: Path
    images: int
    scales: tuple[int, ...]
    network: NetworkRecord | None
    extracted: int
    kept: int
    stored_bytes: int
    skipped: tuple[Skipped, ...]
    up_to_date: bool = False
    dry_run: bool = False


def run(
    proposals_path: Path,
    output: Path,
    config: ExtractConfig,
    *,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ExtractSummary:
    """Compute the conv maps of every image that ``proposals_path`` lists.

    Maps that an unfinished run already has, or an earlier ``output`` with the same network and scales, are taken
    over; images are known by content.

    Raises:
        MissingInput: no proposals, no weights, or the images have gone.
        BadInput: weights that do not fit; with ``strict``, an image that has changed or cannot be read.
        UsageProblem: a backbone, layer or device that does not exist.
    """
    progress = progress or NoProgress()
    proposals = read_proposals(proposals_path)
    network = load_network(config.weights, config.backbone, config.cut, config.reads)
    record = record_of(network)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    settings = {"network": asdict(record), "scales": list(config.scales), "precision": precision}
    source = {
        **proposals.header.source,
        "network": {
            "weights": network.weights,
            "backbone": config.backbone,
            "cut": config.cut,
            "reads": config.reads,
        },
    }
    header = Header("features", settings, {"proposals": proposals.fingerprint}, source)
    if not force and is_current(output, "features", header.fingerprint):
        touch_if_older(output, [proposals_path])
        with open_features(output) as old:
            count, skipped = len(old.images), old.images.skipped
        return ExtractSummary(
            output, count, config.scales, record, 0, count, output.stat().st_size, skipped, up_to_date=True
        )
    with ExitStack() as stack:
        earlier = None if force else _earlier(stack, output, settings)
        known = {value: i for i, value in enumerate(earlier.images.digests)} if earlier else {}
        digests = proposals.images.digests
        if dry_run:
            todo = sum(1 for value in digests if value not in known)
            return ExtractSummary(
                output, len(digests), config.scales, record, todo, len(digests) - todo, 0, (), dry_run=True
            )
        parts = Parts(output, digest_of(settings), discard=force)
        first = {value: i for i, value in reversed(list(enumerate(digests)))}
        todo_rows = sorted(i for value, i in first.items() if value not in known and not parts.has(value))
        extractor = Extractor(network, device, precision)
        problems = _extract(proposals, todo_rows, config.scales, extractor, parts, strict, progress)
        bad = {digests[i]: problem for i, problem in problems.items()}
        good = [i for i, value in enumerate(digests) if value not in bad]
        if not good:
            raise BadInput(f"none of the {len(digests)} images could be read; the first: {next(iter(bad.values()))}")
        skipped = tuple(
            Skipped(proposals.images.paths[i], bad[digests[i]]) for i in range(len(digests)) if digests[i] in bad
        )
        table = ImageTable(
            tuple(proposals.images.ids[i] for i in good),
            tuple(proposals.images.paths[i] for i in good),
            tuple(digests[i] for i in good),
            proposals.images.sizes[good],
            (*proposals.images.skipped, *skipped),
        )
        progress.note("writing")
        with create(output, header) as writer:
            table.write(writer)
            for index, i in enumerate(good):
                for scale in config.scales:
                    target = map_name(scale, index)
                    if digests[i] in known and earlier is not None:
                        earlier.copy_map(writer, scale, known[digests[i]], target)
                    else:
                        with parts.open(digests[i]) as part:
                            writer.copy_from(part, str(scale), target)
    parts.discard()
    return ExtractSummary(
        output,
        len(good),
        config.scales,
        record,
        len(todo_rows) - len(problems),
        len(digests) - len(todo_rows),
        output.stat().st_size,
        skipped,
    )


def _earlier(stack: ExitStack, output: Path, settings: Mapping[str, object]) -> Features | None:
    """The maps already in ``output``, if they are those of the same network and scales."""
    try:
        features = stack.enter_context(open_features(output))
    except (MissingInput, BadArtefact):
        # Nothing to take over: the file is absent, or about to be replaced.
        return None
    return features if digest_of(features.header.config) == digest_of(settings) else None


def _extract(
    proposals: Proposals,
    rows: list[int],
    scales: tuple[int, ...],
    extractor: Extractor,
    parts: Parts,
    strict: bool,
    progress: Progress,
) -> dict[int, str]:
    """Maps of the images ``rows`` into ``parts``; returns what was wrong with the images that failed.

    The next image is decoded and the last one's maps are compressed and written while the network runs.
    """
    torch.set_num_threads(cpu_threads())
    problems: dict[int, str] = {}
    progress.start(len(rows), "images")

    def load(row: int) -> tuple[int, ByteImage | SppError]:
        path = proposals.images.absolute(proposals.root, row)
        try:
            data = read_bytes(path)
            if digest(data) != proposals.images.digests[row]:
                raise BadInput(f"{path} has changed since {proposals.path} was made; run spp propose again")
            return row, decode(data, str(path))
        except SppError as error:
            return row, error

    def save(row: int, maps: dict[int, FloatArray]) -> None:
        with parts.create(proposals.images.digests[row]) as part:
            for scale, values in maps.items():
                part.array(str(scale), values, compress=True)

    def all_maps() -> Iterator[tuple[int, dict[int, FloatArray]]]:
        for row, image in prefetch(load, rows):
            if isinstance(image, SppError):
                if strict:
                    raise image
                progress.warn(f"skipped: {image}")
                problems[row] = str(image)
                progress.advance()
                continue
            name = proposals.images.paths[row]
            yield row, {scale: np.asarray(extractor(image, scale, name)) for scale in scales}

    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        pending: Future[None] | None = None
        for row, maps in all_maps():
            if pending:
                pending.result()
            pending = writer.submit(save, row, maps)
            progress.advance()
        if pending:
            pending.result()
    return problems
