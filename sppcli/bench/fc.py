"""Seconds of the fc layers on pooled regions: whole, truncated by SVD, and in bfloat16 where the processor has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.bench.operations import fc_operations
from sppcli.features.windows import HeldMaps, WindowReader
from sppcli.geometry.projection import CellGrid
from sppcli.nets.backbones import FcHead
from sppcli.nets.compression import compressed
from sppcli.paper import DEFAULT


def rows(
    machine: Machine,
    windows: int = 2000,
    channels: int = 256,
    units: tuple[int, int] = (4096, 4096),
    ranks: tuple[int, int] = (1024, 256),
    repeat: int = 1,
) -> list[Row]:
    """Regions of one map, all distinct, pooled and through fc6 and fc7 of ZF-5's sizes, as `WindowReader` does it.

    The floor: multiply-adds over the rate of matrix products; pooling is in the time and not in the floor. The peer of
    the others is the whole head in float32. Weights are drawn at random.
    """
    levels = DEFAULT.pyramid
    random = np.random.default_rng(0)
    side = 48
    conv_map = np.maximum(random.standard_normal((side, side, channels), np.float32), 0).astype(np.float16)
    # Regions of 6 to 18 cells per side; a stride of 1 and no slack make pixels cells.
    corners = random.permutation((side - 18) ** 2 * 4)[:windows]
    x, y = corners % (side - 18), corners // (side - 18) % (side - 18)
    extent = 6 + 4 * (corners // (side - 18) ** 2)
    boxes = np.stack([x, y, x + extent, y + extent], axis=1).astype(np.float32)
    sizes = (sum(n * n for n in levels) * channels, *units)
    layers = {}
    for name, before, after in zip(("fc6", "fc7"), sizes[:-1], sizes[1:], strict=True):
        weight = random.standard_normal((after, before), np.float32) / np.float32(np.sqrt(before))
        layers[name] = (torch.from_numpy(weight), torch.zeros(after))
    whole = FcHead(levels, layers)
    heads = {"fp32": whole, f"fp32, --svd {ranks[0]},{ranks[1]}": compressed(whole, "fc7", ranks)}
    if "bf16" in machine.products:
        heads |= {name.replace("fp32", "bf16"): head.moved(None, "bf16") for name, head in heads.items()}

    def run(head: FcHead) -> Callable[[], Any]:
        reader = WindowReader((side,), CellGrid(1, 0), 1.0, channels, levels, layer="fc7", head=head)
        maps = HeldMaps((side, side), (conv_map,))
        return lambda: reader.features(maps, boxes)

    run(whole)()
    seconds = alternated({name: run(head) for name, head in heads.items()}, repeat, warm=False)
    return [
        Row(
            "fc",
            f"{len(boxes)} regions, {' -> '.join(map(str, sizes))}, {name}",
            seconds[name],
            machine.floor(fc_operations(head, "fc7") * len(boxes), precision=name[:4]),
            "multiply-adds",
            "" if head is whole else "fp32",
            None if head is whole else seconds["fp32"],
        )
        for name, head in heads.items()
    ]
