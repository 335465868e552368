"""Both ways from an image and its regions to features, R-CNN's and SPP-net's, in the same measured phases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sppcli.bench.networks import with_torchs_normalisation
from sppcli.bench.operations import conv_operations, fc_operations
from sppcli.features.conv_maps import prepare
from sppcli.features.rcnn import warped
from sppcli.features.windows import HeldMaps, WindowReader
from sppcli.geometry.projection import CellGrid
from sppcli.images import size_at
from sppcli.nets.backbones import FcHead, Network, run_trunk
from sppcli.nets.compression import compressed
from sppcli.nets.local import for_inference
from sppcli.nets.pyramid import SpatialPyramidPool
from sppcli.paper import DEFAULT
from sppcli.structures import Boxes, ByteImage, FloatArray

PHASES = ("prepare", "conv", "pool", "fc")


@dataclass(frozen=True)
class Variant:
    """One way to run SPP-net: at which scales, in which precision, and with what saves work.

    ``distinct``: regions that see the same cells at the same scale go through the fc layers once. ``svd``: ranks of the
    truncated fc layers, () for whole ones. ``name``: what it adds to the variant before it.
    """

    scales: tuple[int, ...]
    precision: str
    distinct: bool = False
    svd: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Cost:
    """Of one image. ``seconds`` of each of `PHASES`; multiply-adds of conv and fc layers; regions computed."""

    seconds: dict[str, float]
    conv_operations: float
    fc_operations: float
    windows: float

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @property
    def layers(self) -> float:
        """Seconds of what has multiply-adds: conv and fc layers."""
        return self.seconds["conv"] + self.seconds["fc"]

    @property
    def operations(self) -> float:
        return self.conv_operations + self.fc_operations


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


class Methods:
    """A network on ``device``, run as R-CNN and as SPP-net.

    ``batch``: R-CNN's regions through the conv layers at once. ``block``: regions through the fc layers at once, in
    both. ``context``: pixels around R-CNN's regions, in the network's input.
    """

    def __init__(self, network: Network, device: torch.device, context: int, batch: int, block: int) -> None:
        self._network = network
        self._device = device
        self._context = context
        self._batch = batch
        self._block = block
        self._trunk = for_inference(network.trunk.to(device).to(memory_format=torch.channels_last))
        self._levels = network.levels or (network.head.levels if network.head else DEFAULT.pyramid)
        self._heads: dict[tuple[str, tuple[int, ...]], FcHead] = {}
        self.layer = list(network.head.layers)[-1] if network.head and network.head.layers else "pool5"

    @cached_property
    def _plain(self) -> nn.Module:
        """The trunk in torch's own layers."""
        return with_torchs_normalisation(self._network.trunk)

    def rcnn(
        self, image: ByteImage, windows: Boxes, precision: str, measured: int, plain: bool = False
    ) -> tuple[Cost, torch.Tensor]:
        """Each region by itself; timed on ``measured`` of them, spread evenly, and scaled up. Features of those.

        ``plain``: torch's layers one after the other, its normalisation too, in place of our kernels.
        """
        network = self._network
        chosen = windows[np.unique(np.linspace(0, len(windows) - 1, measured).astype(np.int64))]
        clock = _Clock(self._device)
        pyramid = SpatialPyramidPool(self._levels)
        pooled: list[torch.Tensor] = []
        for start in range(0, len(chosen), self._batch):
            with clock.phase("prepare"):
                part = chosen[start : start + self._batch].tolist()
                crops = [warped(image, box, network.input_size, self._context, network.normalisation) for box in part]
                pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(self._device)
            with clock.phase("conv"):
                maps = self._conv(pixels, precision, plain)
            with clock.phase("pool"), torch.inference_mode():
                pooled.append(pyramid(maps.float()))
        vectors = torch.cat(pooled)
        with clock.phase("fc"):
            features = self._through_head(vectors, precision)
        factor = len(windows) / len(chosen)
        conv = conv_operations(network.trunk, network.input_size, network.input_size) * len(windows)
        fc = self._fc_operations(()) * len(windows)
        seconds = {name: value * factor for name, value in clock.seconds.items()}
        return Cost(seconds, conv, fc, len(windows)), features

    def spp(self, image: ByteImage, windows: Boxes, variant: Variant) -> tuple[Cost, torch.Tensor]:
        """The whole image once a scale, all regions pooled from its maps. Features of the regions (N, D)."""
        network = self._network
        clock = _Clock(self._device)
        maps: list[FloatArray] = []
        conv = 0
        for scale in variant.scales:
            with clock.phase("prepare"):
                pixels = prepare([image], scale, network.normalisation, self._device)
            with clock.phase("conv"):
                values = self._conv(pixels, variant.precision)
                maps.append(values[0].permute(1, 2, 0).half().contiguous().cpu().numpy())
            conv += conv_operations(network.trunk, *size_at(image.shape[0], image.shape[1], scale))
        grid = CellGrid(network.grid.stride, network.grid.centre, DEFAULT.slack)
        reader = WindowReader(
            variant.scales, grid, float(network.input_size), network.channels, self._levels, DEFAULT.scale_rule
        )
        held = HeldMaps(image.shape[:2], tuple(maps))
        rows: npt.NDArray[np.int64] | None = None
        with clock.phase("pool"):
            if variant.distinct:
                unique = reader.unique(held, windows)
                windows, rows, vectors = windows[unique.firsts], unique.rows, unique.values
            else:
                vectors = reader.features(held, windows)
            pooled = torch.from_numpy(vectors).to(self._device)
        with clock.phase("fc"):
            features = self._through_head(pooled, variant.precision, variant.svd)
            if rows is not None:
                features = features[torch.from_numpy(rows).to(self._device)]
        fc = self._fc_operations(variant.svd) * len(windows)
        return Cost(clock.seconds, conv, fc, len(windows)), features

    def prepare_head(self, precision: str, svd: tuple[int, ...] = ()) -> None:
        """Make the fc layers of these options now, as truncating them takes longer than what is measured.

        Raises:
            UsageProblem: ranks that do not fit the layers.
        """
        if self._network.head is None or self.layer == "pool5":
            return
        if ("fp32", svd) not in self._heads:
            head = self._network.head
            head = compressed(head, self.layer, svd) if svd else head
            self._heads["fp32", svd] = head.moved(self._device)
        self._heads[precision, svd] = self._heads["fp32", svd].moved(self._device, precision)

    @torch.inference_mode()
    def _conv(self, pixels: torch.Tensor, precision: str, plain: bool = False) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=precision == "bf16"):
            return run_trunk(self._plain if plain else self._trunk, pixels)

    @torch.inference_mode()
    def _through_head(self, pooled: torch.Tensor, precision: str, svd: tuple[int, ...] = ()) -> torch.Tensor:
        if self.layer == "pool5":
            return pooled
        head = self._heads[precision, svd]
        return torch.cat([head.run(part, self.layer).float() for part in torch.split(pooled, self._block)])

    def _fc_operations(self, svd: tuple[int, ...]) -> int:
        """Multiply-adds of one region."""
        return fc_operations(self._heads.get(("fp32", svd)), self.layer)
