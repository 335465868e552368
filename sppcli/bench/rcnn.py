"""SPP-net against R-CNN: seconds and multiply-adds per image with the same proposals, network and machine (Table 9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sppcli.bench.methods import PHASES, Cost, Methods, Variant
from sppcli.bench.networks import RANDOM, random_network
from sppcli.bench.pictures import draw_windows, pictures, search_windows, stored_windows
from sppcli.errors import UsageProblem
from sppcli.features.conv_maps import choose_device, choose_precision
from sppcli.nets.weights import load_network
from sppcli.paper import DEFAULT
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.structures import Boxes, ByteImage

PLAIN = "torch's layers"
DRAWN, SEARCHED, STORED = "drawn at random", "of Selective Search", "of a proposals file"


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """``net``: a network with random weights, or None for that of ``weights``, ``backbone``, ``cut`` and
    ``normalisation`` (as in `spp extract`). At most ``windows`` an image, of which R-CNN is measured on
    ``rcnn_windows``; as many go through the fc layers at once in both methods. ``batch``: R-CNN's through the conv
    layers at once. ``size``: (height, width) of an image drawn if none is given. ``repeat``: of so many runs the
    fastest counts, phase by phase. ``best``: R-CNN in float32, by torch's layers alone too, against SPP-net with all
    that saves time, one thing after the other; ``svd``: the ranks of its fc layers.
    """

    net: str | None = "zf5"
    weights: str = "imagenet"
    backbone: str | None = None
    cut: str | None = None
    normalisation: str | None = None
    precision: str = "auto"
    device: str = "auto"
    scales: tuple[tuple[int, ...], ...] = ((688,), DEFAULT.scales)
    windows: int = 2000
    rcnn_windows: int = 256
    size: tuple[int, int] = (375, 500)
    context: int = 16
    batch: int = 8
    repeat: int = 3
    seed: int = 0
    proposals: Path | None = None
    best: bool = False
    svd: tuple[int, ...] = (1024, 256)


@dataclass(frozen=True)
class Row:
    """One method. ``scales``: () for R-CNN; ``step``: what it adds to the row before it, "" for the plain method.

    Ratios are R-CNN's, with the same kernels, over this one's: of the conv layers alone, of conv and fc layers, and in
    all. ``plain_ratio``: in all, of R-CNN by torch's layers alone over this one; None where that was not measured.
    """

    method: str
    scales: tuple[int, ...]
    step: str
    precision: str
    cost: Cost
    total_seconds: float
    conv_ratio: float
    layers_ratio: float
    total_ratio: float
    conv_operations_ratio: float
    operations_ratio: float
    plain_ratio: float | None = None


@dataclass(frozen=True)
class BenchSummary:
    """``windows``: an image, the mean. ``measured``: those of each image that R-CNN was measured on; its seconds are
    scaled up. ``source``: where regions come from.
    """

    network: str
    random_weights: bool
    layer: str
    images: int
    drawn_images: bool
    windows: float
    source: str
    measured: int
    side: int
    context: int
    device: str
    threads: int
    rows: tuple[Row, ...]


def run(images: Sequence[Path], config: BenchConfig, *, progress: Progress | None = None) -> BenchSummary:
    """Measure R-CNN and, for each of ``config.scales``, SPP-net on ``images``.

    Like for like: both run the same trunk in the same precision, the same pyramid and the same fc layers on as many
    regions at once, and both keep the memory they have used. "prepare" is resizing (R-CNN: warping) and normalising,
    "pool" the pyramid over the regions.

    Raises:
        MissingInput, BadInput, BadArtefact: an image, weights or regions that cannot be read.
        UsageProblem: no such network or device, ranks that do not fit the network, or a context that leaves nothing of
            the input.
    """
    progress = progress or NoProgress()
    network = (
        random_network(config.net, config.seed)
        if config.net
        else load_network(config.weights, config.backbone, config.cut, config.normalisation)
    )
    for note in network.notes:
        progress.warn(note)
    if 2 * config.context >= network.input_size:
        raise UsageProblem(
            f"--context {config.context} on both sides leaves nothing of an input of {network.input_size} pixels"
        )
    device = choose_device(config.device)
    threads = cpu_threads()
    torch.set_num_threads(threads)
    pixels, windows, source = _inputs(images, config, progress)
    measured = min(config.rcnn_windows, max(map(len, windows)))
    methods = Methods(network, device, config.context, config.batch, measured)
    precision = "fp32" if config.best else choose_precision(config.precision, device)
    variants = [
        variant for scales in config.scales for variant in _variants(scales, precision, config, device, methods.layer)
    ]
    methods.prepare_head(precision)
    for variant in variants:
        methods.prepare_head(variant.precision, variant.svd)
    with kept_memory():
        costs = _measure(methods, list(zip(pixels, windows, strict=True)), precision, variants, config, progress)
    plain = costs.pop(0) if config.best else None
    rcnn = costs.pop(0)
    rows = [_row("R-CNN", Variant((), precision, name=PLAIN), plain, rcnn, plain)] if plain else []
    rows.append(_row("R-CNN", Variant((), precision), rcnn, rcnn, plain))
    rows += [_row("SPP-net", variant, cost, rcnn, plain) for variant, cost in zip(variants, costs, strict=True)]
    return BenchSummary(
        network.backbone,
        network.weights == RANDOM,
        methods.layer,
        len(pixels),
        not images,
        float(np.mean([len(boxes) for boxes in windows])),
        source,
        measured,
        network.input_size,
        config.context,
        str(device),
        threads,
        tuple(rows),
    )


def _inputs(paths: Sequence[Path], config: BenchConfig, progress: Progress) -> tuple[list[ByteImage], list[Boxes], str]:
    """Images, regions of each, and where the regions come from."""
    random = np.random.default_rng(config.seed)
    pixels = pictures(paths, config.size, random)
    if config.proposals:
        return pixels, stored_windows(config.proposals, paths, config.windows), STORED
    if config.best:
        # How many regions see the same cells is not to be had from regions drawn at random.
        return pixels, [search_windows(image, config.windows, config.seed, progress) for image in pixels], SEARCHED
    return pixels, [draw_windows(random, image, config.windows) for image in pixels], DRAWN


def _variants(
    scales: tuple[int, ...], precision: str, config: BenchConfig, device: torch.device, layer: str
) -> Iterator[Variant]:
    """SPP-net at ``scales`` like R-CNN; with ``config.best`` then with one saving after the other."""
    variant = Variant(scales, precision)
    yield variant
    if not config.best:
        return
    if choose_precision(config.precision, device) == "bf16":
        variant = replace(variant, precision="bf16", name="bf16")
        yield variant
    variant = replace(variant, distinct=True, name="unique regions")
    yield variant
    if config.svd and layer != "pool5":
        yield replace(variant, svd=config.svd, name=f"SVD {','.join(map(str, config.svd))}")


def _measure(
    methods: Methods,
    inputs: Sequence[tuple[ByteImage, Boxes]],
    precision: str,
    variants: Sequence[Variant],
    config: BenchConfig,
    progress: Progress,
) -> list[Cost]:
    """Mean cost per image of R-CNN (with ``config.best`` by torch's layers, then by ours) and of each of ``variants``,
    all in turn in each repeat."""
    ways = [True, False] if config.best else [False]
    # What is compiled or allocated on first use is not what is measured.
    for plain in ways:
        methods.rcnn(inputs[0][0], inputs[0][1], precision, min(config.batch, config.rcnn_windows), plain)
    for variant in variants:
        methods.spp(*inputs[0], variant)
    runs = [partial(methods.rcnn, precision=precision, measured=config.rcnn_windows, plain=plain) for plain in ways]
    runs += [partial(methods.spp, variant=variant) for variant in variants]
    progress.start(len(inputs) * config.repeat * len(runs), "runs")
    costs: list[list[Cost]] = [[] for _ in runs]
    for image, windows in inputs:
        found: list[list[Cost]] = [[] for _ in runs]
        for _ in range(config.repeat):
            for measure, here in zip(runs, found, strict=True):
                here.append(measure(image, windows)[0])
                progress.advance()
        for mine, here in zip(costs, found, strict=True):
            mine.append(_fastest(here))
    return [_mean(mine) for mine in costs]


def _fastest(costs: Sequence[Cost]) -> Cost:
    """The fastest of several runs on one image, phase by phase."""
    return replace(costs[0], seconds={name: min(cost.seconds[name] for cost in costs) for name in PHASES})


def _mean(costs: Sequence[Cost]) -> Cost:
    return Cost(
        {name: float(np.mean([cost.seconds[name] for cost in costs])) for name in PHASES},
        float(np.mean([cost.conv_operations for cost in costs])),
        float(np.mean([cost.fc_operations for cost in costs])),
        float(np.mean([cost.windows for cost in costs])),
    )


def _row(method: str, variant: Variant, cost: Cost, rcnn: Cost, plain: Cost | None) -> Row:
    return Row(
        method,
        variant.scales,
        variant.name,
        variant.precision,
        cost,
        cost.total,
        rcnn.seconds["conv"] / cost.seconds["conv"],
        rcnn.layers / cost.layers,
        rcnn.total / cost.total,
        rcnn.conv_operations / cost.conv_operations,
        rcnn.operations / cost.operations,
        plain.total / cost.total if plain else None,
    )
