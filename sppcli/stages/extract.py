"""From proposals.h5 to features.h5: conv maps of each image at each scale, or R-CNN's features of each region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from sppcli.artefacts.features import Features, NetworkRecord, RcnnRecord, open_features
from sppcli.artefacts.networks import describes_itself
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.parts import Moving, Parts, discard_finished
from sppcli.artefacts.proposals import Proposals, of_shard, read_proposals
from sppcli.artefacts.shards import for_shard
from sppcli.artefacts.store import Header, create, digest_of
from sppcli.artefacts.writing import Writer
from sppcli.detection.extraction import Arrays, Extraction, MapExtraction, WindowExtraction
from sppcli.detection.networks import head_of, record_of
from sppcli.detection.per_image import PerImage
from sppcli.detection.split import reopen_dataset
from sppcli.errors import BadArtefact, BadInput, MissingInput, StaleArtefact, UsageProblem
from sppcli.features.conv_maps import Extractor, choose_device, choose_precision
from sppcli.features.rcnn import RcnnReader
from sppcli.images import INPUTS, check_scales, decode, digest, read_bytes
from sppcli.nets.backbones import Network
from sppcli.nets.weights import load_network
from sppcli.paper import DEFAULT, RECIPES
from sppcli.runtime.batches import same_shape
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.files import check_room
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress
from sppcli.runtime.shards import Shard
from sppcli.runtime.url_transfer import at_hand
from sppcli.structures import ByteImage, Skipped

# Bytes of decoded images that may wait for others of their size: some 450 images of VOC.
_HELD = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class RcnnConfig:
    """R-CNN. ``layer`` None: the network's last fc layer, or pool5; ``side`` None: its training input's."""

    layer: str | None = None
    side: int | None = None
    context: int = 16


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """``weights``: imagenet or a file; ``backbone``, ``cut`` and ``normalisation`` (how pixels are normalised, one of
    `images.INPUTS`): None for the file's own or the default. ``rcnn``: R-CNN's features of regions instead of maps.
    ``batch``: images of one size, or with ``rcnn`` regions, that go through the network at once; None for what suits
    the device. It decides the speed, and the arrays only to rounding. ``recipe``: whose backbone and pixels
    are taken where nothing else says them; it is recorded."""

    weights: str = "imagenet"
    backbone: str | None = None
    cut: str | None = None
    normalisation: str | None = None
    scales: tuple[int, ...] = DEFAULT.scales
    precision: str = "auto"
    rcnn: RcnnConfig | None = None
    recipe: str = DEFAULT.name
    flip: bool = False
    batch: int | None = None


@dataclass(frozen=True)
class ExtractSummary:
    """``extracted``: images run through the network now; ``kept``: taken over. Sizes in bytes.

    ``layer``: what R-CNN's regions went through, "" for maps.
    """

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
    layer: str = ""


@one_at_a_time
@kept_memory()
@announces_compiling
def run(
    proposals_path: Path,
    output: Path,
    config: ExtractConfig,
    *,
    shard: Shard | None = None,
    options: RunOptions = USUAL,
) -> ExtractSummary:
    """Compute the conv maps of every image that ``proposals_path`` lists (of ``shard``), or R-CNN's features of its
    regions.

    What an unfinished run already has, or an earlier ``output`` with the same network and options, is taken over;
    images are known by content.

    Raises:
        MissingInput: no proposals, no weights, or the images have gone.
        BadInput: weights that do not fit; with ``strict``, an image that has changed or cannot be read.
        UsageProblem: a backbone, layer or device that does not exist, or a context or side that leaves nothing.
    """
    proposals = read_proposals(proposals_path, of_shard(shard))
    _claim(output, config, proposals, options)
    normalisation = _normalisation(config)
    network = load_network(config.weights, _backbone(config), config.cut, normalisation)
    for note in network.notes:
        options.progress.warn(note)
    _warn_of_pixels(config, network, options.progress)
    device = choose_device(options.device)
    precision = choose_precision(config.precision, device)
    method = _method(config, proposals, network, device, precision)
    header = _header(config, proposals, network, precision, method, shard)
    layer = method.settings["crops"]["layer"] if config.rcnn else ""
    summarise = partial(
        ExtractSummary, output, scales=tuple(method.settings["scales"]), network=record_of(network), layer=layer
    )
    made_with = digest_of(header.config)
    if Output(output, header, [proposals_path]).is_current(options.force):
        if not options.dry_run:
            discard_finished(output, made_with, set(method.keys()).__contains__)
        with open_features(output) as old:
            count, skipped = len(old.images), old.images.skipped
        size = output.stat().st_size
        return summarise(images=count, extracted=0, kept=count, stored_bytes=size, skipped=skipped, up_to_date=True)
    work = PerImage.of_shard(proposals.images, method.keys(), shard, output, options)
    with ExitStack() as stack:
        earlier = None if options.force else _earlier(stack, output, header)
        known = {value: i for i, value in enumerate(method.keys_in(earlier))} if earlier else {}
        if options.dry_run:
            todo = work.todo(known.__contains__)
            kept = len(work) - len(todo)
            return summarise(images=len(work), extracted=len(todo), kept=kept, stored_bytes=0, skipped=(), dry_run=True)
        parts = Parts(output, made_with, discard=options.force)
        todo = work.todo(lambda key: key in known or parts.has(key))
        _check_room(output, sum(map(method.plain_bytes, todo)), options.progress)
        _extract_all(proposals, method, work, todo, parts)
        good = work.good()
        table = work.table(proposals.images, good, proposals.images.sizes[good], before=proposals.images.skipped)
        options.progress.note("writing")
        keys = [work.keys[row] for row in good]
        noted = work.noted(header, proposals.images, len(proposals.images.skipped))
        with create(output, noted, parts.whole) as writer:
            table.write(writer)
            _fill(writer, keys, method, parts, earlier, known)
    parts.discard()
    work.attempts.discard()
    return summarise(
        images=len(good),
        extracted=work.succeeded(todo),
        kept=len(work) - len(todo),
        stored_bytes=output.stat().st_size,
        skipped=work.skipped(),
    )


def _fill(
    writer: Writer,
    keys: Sequence[str],
    method: Extraction,
    parts: Parts,
    earlier: Features | None,
    known: Mapping[str, int],
) -> None:
    """Arrays of the images with ``keys``: those ``known`` by their row in ``earlier`` from there, others from parts."""
    last = {key: index for index, key in enumerate(keys)}
    moving = Moving(parts, writer)
    for index, key in enumerate(keys):
        names = method.names(index)
        if key in known and earlier is not None:
            for name, target in names.items():
                earlier.copy(writer, method.names(known[key])[name], target)
        else:
            moving.take(key, names, last=last[key] == index)


def _claim(output: Path, config: ExtractConfig, proposals: Proposals, options: RunOptions) -> None:
    for source in proposals.sources:
        at_hand(source)
    images = (proposals.images.absolute(proposals.root, row) for row in range(len(proposals.images)))
    inputs = [proposals.path, Path(config.weights)]
    claim(output, "features", inputs=inputs, images=images, overwrite=options.overwrite)


def _check_room(output: Path, plain: int, progress: Progress) -> None:
    """Compressed, maps take a third or so of their ``plain`` bytes."""
    warning = check_room(output, plain // 10, plain // 3)
    if warning:
        progress.warn(warning)


def _backbone(config: ExtractConfig) -> str | None:
    """The backbone asked for; else a file of weights says which it is, and of ImageNet's the recipe."""
    if config.backbone or config.weights != "imagenet":
        return config.backbone
    return RECIPES[config.recipe].backbone


def _normalisation(config: ExtractConfig) -> str | None:
    """How pixels are normalised: as asked for; else as a network of ours says itself; else as the recipe has it."""
    if config.normalisation or describes_itself(Path(config.weights)):
        return config.normalisation
    return RECIPES[config.recipe].pixels


def _warn_of_pixels(config: ExtractConfig, network: Network, progress: Progress) -> None:
    """Say where the recipe's pixels are not those that the weights were trained on."""
    pixels = RECIPES[config.recipe].pixels
    if pixels is None or config.normalisation:
        return
    if config.weights == "imagenet":
        progress.warn(
            f"--recipe {config.recipe} normalises pixels as {pixels}, which torchvision's ImageNet weights were not "
            "trained on; expect a lower AP, or give --input imagenet"
        )
    elif network.normalisation != INPUTS[pixels]:
        progress.warn(
            f"{config.weights} says itself how its pixels are normalised, and not as {pixels}, which --recipe "
            f"{config.recipe} has; its own way is taken"
        )


def _header(
    config: ExtractConfig,
    proposals: Proposals,
    network: Network,
    precision: str,
    method: Extraction,
    shard: Shard | None,
) -> Header:
    """What decides the arrays, and where the images and the network were found."""
    settings = {"network": record_of(network).to_json(), "precision": precision, **method.settings}
    place = {
        "weights": network.weights,
        # A file of weights says which it is; ImageNet's have no other name.
        "backbone": network.backbone if config.weights == "imagenet" else config.backbone,
        "cut": config.cut,
        "reads": _normalisation(config),
    }
    inputs = {"proposals": proposals.fingerprint, **method.inputs}
    # What a recipe chose decides the maps, its name does not: another with the same values finds them made.
    summary = {"recipe": config.recipe}
    header = Header("features", settings, inputs, {**proposals.header.source, "network": place}, summary)
    return for_shard(header, shard, proposals.images.ids, proposals.images.paths)


def _method(
    config: ExtractConfig, proposals: Proposals, network: Network, device: torch.device, precision: str
) -> Extraction:
    """How images are run through ``network``."""
    rcnn = config.rcnn
    if rcnn is None:
        extractor = Extractor(network, device, precision)
        return MapExtraction(proposals, extractor, config.scales, config.flip, _at_once(config, device))
    has = network.head.layers if network.head else {}
    layer = rcnn.layer or ["pool5", *has][-1]
    head, head_digest = head_of(network, layer)
    # Without fc layers on top of it the map has no pooling of its own.
    levels = network.levels or (network.head.levels if network.head else DEFAULT.pyramid)
    side = rcnn.side or network.input_size
    if 2 * rcnn.context >= side:
        raise UsageProblem(
            f"--context {rcnn.context} on both sides leaves nothing of an input of {side} pixels; lower it"
        )
    record = RcnnRecord(layer, levels, side, rcnn.context, head_digest)
    batch = _at_once(config, device)
    reader = RcnnReader(network, device, precision, levels, layer, head, side, rcnn.context, batch)
    return WindowExtraction(proposals, reopen_dataset(proposals), reader, record)


def _at_once(config: ExtractConfig, device: torch.device) -> int:
    """Number of images, or of R-CNN's regions, per batch; on the CPU one whole image occupies all cores."""
    if config.batch:
        return config.batch
    images, windows = (1, 8) if device.type == "cpu" else (8, 64)
    return windows if config.rcnn else images


def _earlier(stack: ExitStack, output: Path, header: Header) -> Features | None:
    """What is already in ``output``, if it is of the same network and options."""
    try:
        features = stack.enter_context(open_features(output))
        features.check_shards()
    except (MissingInput, BadArtefact, StaleArtefact):
        # Nothing to take over: the file is absent, or leads to what is, or is about to be replaced.
        return None
    return features if digest_of(features.header.config) == digest_of(header.config) else None


def _extract_all(proposals: Proposals, method: Extraction, work: PerImage, todo: Sequence[int], parts: Parts) -> None:
    """Arrays of the images ``todo`` into ``parts``, in their turns."""
    work.options.progress.start(len(todo), "images")
    with work.attempts.in_order():
        for rows in work.turns(todo):
            _extract(proposals, method, work, rows, parts)


def _extract(proposals: Proposals, method: Extraction, work: PerImage, rows: Sequence[int], parts: Parts) -> None:
    """Arrays of the images ``rows`` into ``parts``.

    Images of one size go through the network together. Following ones are decoded and the last batch's arrays are
    compressed and written meanwhile.
    """
    torch.set_num_threads(cpu_threads())

    def load(row: int) -> ByteImage:
        path = proposals.images.absolute(proposals.root, row)
        data = read_bytes(path)
        if digest(data) != proposals.images.digests[row]:
            raise BadInput(f"{path} has changed since {proposals.path} was made; run spp propose again")
        image = decode(data, str(path))
        check_scales(image.shape[0], image.shape[1], method.settings["scales"], str(path))
        return image

    def save(done: Sequence[int], found: Sequence[Arrays]) -> None:
        for row, arrays in zip(done, found, strict=True):
            with parts.create(work.keys[row]) as part:
                for name, values in arrays.items():
                    part.array(name, values, compress=True)
        work.ended(done)

    batches = same_shape(
        work.readable(rows, load, ahead=max(2, method.together)),
        lambda item: item[1].shape,
        lambda _: method.together,
        _HELD,
        lambda item: item[1].nbytes,
    )
    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        pending: Future[None] | None = None
        for batch in batches:
            now = [row for row, _ in batch]
            found = method.compute(now, [image for _, image in batch])
            if pending:
                pending.result()
            pending = writer.submit(save, now, found)
            work.options.progress.advance(len(batch))
        if pending:
            pending.result()
