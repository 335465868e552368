"""SPP-net against R-CNN: seconds and multiply-adds an image, with the same windows, network and machine (Table 9)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sppcli.bench.networks import RANDOM, random_network
from sppcli.bench.operations import conv_operations, fc_operations
from sppcli.engine.cpus import cpu_threads
from sppcli.engine.progress import NoProgress, Progress
from sppcli.errors import BadInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import read_image, size_at
from sppcli.nets.backbones import Network, run_trunk
from sppcli.nets.crops import warped
from sppcli.nets.local import for_inference
from sppcli.nets.maps import choose_device, choose_precision, prepare
from sppcli.nets.pyramid import SpatialPyramidPool
from sppcli.nets.weights import load_network
from sppcli.nets.windows import HeldMaps, WindowReader
from sppcli.paper import DEFAULT
from sppcli.structures import Boxes, ByteImage, FloatArray

PHASES = ("prepare", "conv", "pool", "fc")


@dataclass(frozen=True)
class BenchConfig:
    """``net``: a network with random weights, or None for that of ``weights``, ``backbone``, ``cut`` and ``reads`` (as
    in `spp extract`). ``windows`` an image, of which R-CNN is measured on ``rcnn_windows``. ``size``: (height, width)
    of an image drawn at random if none is given. ``repeat``: of so many runs the fastest counts, phase by phase.
    """

    net: str | None = "zf5"
    weights: str = "imagenet"
    backbone: str | None = None
    cut: str | None = None
    reads: str | None = None
    precision: str = "auto"
    device: str = "auto"
    scales: tuple[tuple[int, ...], ...] = ((688,), DEFAULT.scales)
    windows: int = 2000
    rcnn_windows: int = 64
    size: tuple[int, int] = (375, 500)
    context: int = 16
    batch: int = 64
    repeat: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Cost:
    """Of one image. ``seconds`` of each of `PHASES`; multiply-adds of conv and fc layers."""

    seconds: dict[str, float]
    conv_operations: float
    fc_operations: float

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @property
    def operations(self) -> float:
        return self.conv_operations + self.fc_operations


@dataclass(frozen=True)
class Row:
    """One method. ``scales``: () for R-CNN. Ratios are R-CNN's cost over this one's."""

    method: str
    scales: tuple[int, ...]
    cost: Cost
    total_seconds: float
    conv_ratio: float
    total_ratio: float
    conv_operations_ratio: float
    operations_ratio: float


@dataclass(frozen=True)
class BenchSummary:
    """``measured``: windows of each image that R-CNN was measured on; its seconds are scaled up to ``windows``."""

    network: str
    random_weights: bool
    layer: str
    images: int
    random_images: bool
    windows: int
    measured: int
    side: int
    context: int
    precision: str
    device: str
    threads: int
    rows: tuple[Row, ...]


def run(images: Sequence[Path], config: BenchConfig, *, progress: Progress | None = None) -> BenchSummary:
    """Measure R-CNN and, for each of ``config.scales``, SPP-net on ``images``.

    Both run the same trunk in the same precision, the same pyramid and the same fc layers in the same batches; windows
    are drawn at random. "prepare" is resizing (R-CNN: warping) and normalising, "pool" the pyramid over the windows.

    Raises:
        MissingInput, BadInput: an image or weights that cannot be read.
        UsageProblem: no such network or device, or a context that leaves nothing of the input.
    """
    progress = progress or NoProgress()
    network = (
        random_network(config.net, config.seed)
        if config.net
        else load_network(config.weights, config.backbone, config.cut, config.reads)
    )
    if 2 * config.context >= network.canonical:
        raise UsageProblem(
            f"--context {config.context} on both sides leaves nothing of an input of {network.canonical} pixels"
        )
    device = choose_device(config.device)
    threads = cpu_threads()
    torch.set_num_threads(threads)
    random = np.random.default_rng(config.seed)
    pixels = [read_image(path) for path in images]
    if not pixels:
        pixels = [random.integers(0, 256, (*config.size, 3), dtype=np.uint8)]
    methods = _Methods(network, device, config)
    everything = [(image, draw_windows(random, image, config.windows)) for image in pixels]
    progress.start(len(everything) * config.repeat * (1 + len(config.scales)), "runs")
    measured: list[list[Cost]] = [[] for _ in range(1 + len(config.scales))]
    # What is compiled or allocated on first use is not what is measured.
    methods.rcnn(everything[0][0], everything[0][1][: config.batch])
    methods.spp(*everything[0], config.scales[0])
    for image, windows in everything:
        measured[0].append(_fastest(partial(methods.rcnn, image, windows), config.repeat, progress))
        for k, scales in enumerate(config.scales):
            cost = _fastest(partial(methods.spp, image, windows, scales), config.repeat, progress)
            measured[k + 1].append(cost)
    rcnn, *spp = [_mean(costs) for costs in measured]
    rows = [_row("R-CNN", (), rcnn, rcnn)]
    rows += [_row("SPP-net", scales, cost, rcnn) for scales, cost in zip(config.scales, spp, strict=True)]
    return BenchSummary(
        network.backbone,
        network.weights == RANDOM,
        methods.layer,
        len(pixels),
        not images,
        config.windows,
        min(config.windows, config.rcnn_windows),
        network.canonical,
        config.context,
        methods.precision,
        str(device),
        threads,
        tuple(rows),
    )


def draw_windows(random: np.random.Generator, image: ByteImage, count: int) -> Boxes:
    """``count`` windows (N, 4) of whole pixels in ``image``; sides from 20 pixels to the image's, log-uniform."""
    height, width = image.shape[:2]
    if min(height, width) < 2:
        raise BadInput(f"an image of {width} x {height} pixels has no room for windows; give larger ones")
    sides = []
    for length in (width, height):
        sides.append(np.exp(random.uniform(np.log(min(20, length / 2)), np.log(length), count)).astype(np.int64))
    corners = [
        (random.random(count) * (length - side + 1)).astype(np.int64)
        for side, length in zip(sides, (width, height), strict=True)
    ]
    return np.stack([*corners, corners[0] + sides[0], corners[1] + sides[1]], axis=1).astype(np.float32)


class _Clock:
    """Seconds by phase; a GPU's work is waited for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[name] += time.perf_counter() - start


class _Methods:
    """Both ways from an image and its windows to features, in the same phases."""

    def __init__(self, network: Network, device: torch.device, config: BenchConfig) -> None:
        self.precision = choose_precision(config.precision, device)
        self._network = network
        self._device = device
        self._config = config
        self._trunk = for_inference(network.trunk.to(device).to(memory_format=torch.channels_last))
        self._levels = network.levels or (network.head.levels if network.head else DEFAULT.pyramid)
        self._head = network.head and network.head.moved(device)
        self.layer = list(self._head.layers)[-1] if self._head and self._head.layers else "pool5"

    def rcnn(self, image: ByteImage, windows: Boxes) -> Cost:
        """Each window by itself; measured on some and scaled up."""
        config, network = self._config, self._network
        chosen = windows[np.unique(np.linspace(0, len(windows) - 1, config.rcnn_windows).astype(np.int64))]
        clock = _Clock(self._device)
        pool = SpatialPyramidPool(self._levels)
        for start in range(0, len(chosen), config.batch):
            with clock.phase("prepare"):
                part = chosen[start : start + config.batch].tolist()
                crops = [warped(image, box, network.canonical, config.context, network.normalisation) for box in part]
                pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(self._device)
            with clock.phase("conv"):
                maps = self._conv(pixels)
            with clock.phase("pool"), torch.inference_mode():
                pooled = pool(maps.float())
            with clock.phase("fc"):
                self._fc(pooled)
        factor = len(windows) / len(chosen)
        conv = conv_operations(self._trunk, network.canonical, network.canonical) * len(windows)
        seconds = {name: value * factor for name, value in clock.seconds.items()}
        return Cost(seconds, conv, fc_operations(network.head, self.layer) * len(windows))

    def spp(self, image: ByteImage, windows: Boxes, scales: tuple[int, ...]) -> Cost:
        """The whole image once a scale, all windows pooled from its maps."""
        network = self._network
        clock = _Clock(self._device)
        maps: list[FloatArray] = []
        conv = 0
        for scale in scales:
            with clock.phase("prepare"):
                pixels = prepare(image, scale, network.normalisation).to(self._device)
            with clock.phase("conv"):
                maps.append(self._conv(pixels)[0].permute(1, 2, 0).float().contiguous().cpu().numpy())
            conv += conv_operations(self._trunk, *size_at(image.shape[0], image.shape[1], scale))
        grid = CellGrid(network.grid.stride, network.grid.centre, DEFAULT.slack)
        reader = WindowReader(
            scales, grid, float(network.canonical), network.channels, self._levels, DEFAULT.scale_rule
        )
        with clock.phase("pool"):
            pooled = reader.features(HeldMaps(image.shape[:2], tuple(maps)), windows)
        with clock.phase("fc"):
            for start in range(0, len(windows), self._config.batch):
                self._fc(torch.from_numpy(pooled[start : start + self._config.batch]).to(self._device))
        return Cost(clock.seconds, conv, fc_operations(network.head, self.layer) * len(windows))

    @torch.inference_mode()
    def _conv(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return run_trunk(self._trunk, pixels)

    @torch.inference_mode()
    def _fc(self, pooled: torch.Tensor) -> None:
        if self._head and self.layer != "pool5":
            self._head.run(pooled, self.layer)


def _fastest(measure: Callable[[], Cost], repeat: int, progress: Progress) -> Cost:
    """The fastest of ``repeat`` runs, phase by phase."""
    costs = []
    for _ in range(repeat):
        costs.append(measure())
        progress.advance()
    seconds = {name: min(cost.seconds[name] for cost in costs) for name in PHASES}
    return Cost(seconds, costs[0].conv_operations, costs[0].fc_operations)


def _mean(costs: Sequence[Cost]) -> Cost:
    return Cost(
        {name: float(np.mean([cost.seconds[name] for cost in costs])) for name in PHASES},
        float(np.mean([cost.conv_operations for cost in costs])),
        float(np.mean([cost.fc_operations for cost in costs])),
    )


def _row(method: str, scales: tuple[int, ...], cost: Cost, rcnn: Cost) -> Row:
    return Row(
        method,
        scales,
        cost,
        cost.total,
        rcnn.seconds["conv"] / cost.seconds["conv"],
        rcnn.total / cost.total,
        rcnn.conv_operations / cost.conv_operations,
        rcnn.operations / cost.operations,
    )
