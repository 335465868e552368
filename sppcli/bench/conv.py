"""The trunk's time: ZF-5 over one image at one scale and at five, against the multiply-adds of its conv layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.bench.networks import random_network, with_torchs_normalisation
from sppcli.bench.operations import conv_operations
from sppcli.images import size_at
from sppcli.nets.backbones import run_trunk
from sppcli.nets.local import for_inference
from sppcli.paper import DEFAULT

ONE_SCALE = (688,)


def rows(
    machine: Machine,
    size: tuple[int, int] = (375, 500),
    scales: tuple[tuple[int, ...], ...] = (ONE_SCALE, DEFAULT.scales),
    net: str = "zf5",
    repeat: int = 3,
) -> list[Row]:
    """The trunk of ``net`` with random weights over an image of ``size`` (height, width), for each of ``scales``.

    In every precision of ``machine``. Floor: the conv layers' multiply-adds at the rate of a matrix product in the same
    precision. Peer: the same layers with `torch.nn.LocalResponseNorm`, one after the other.
    """
    trunk = random_network(net).trunk.to(memory_format=torch.channels_last)
    ours, peer = for_inference(trunk), with_torchs_normalisation(trunk)
    random = np.random.default_rng(0)
    table = []
    for precision in machine.products:
        for chosen in scales:
            sizes = [size_at(*size, scale) for scale in chosen]
            images = [torch.from_numpy(random.random((1, *side, 3), np.float32)).permute(0, 3, 1, 2) for side in sizes]
            seconds = alternated(
                {"ours": partial(_run, ours, images, precision), "peer": partial(_run, peer, images, precision)},
                repeat,
            )
            operations = sum(conv_operations(trunk, *side) for side in sizes)
            table.append(
                Row(
                    "conv",
                    f"{net}, {size[1]} x {size[0]} at {', '.join(map(str, chosen))}, {precision}",
                    seconds["ours"],
                    machine.floor(operations, precision=precision),
                    f"{operations / 1e9:.1f} G multiply-adds of the conv layers",
                    "torch.nn.LocalResponseNorm",
                    seconds["peer"],
                )
            )
    return table


@torch.inference_mode()
def _run(trunk: nn.Module, images: list[torch.Tensor], precision: str) -> list[Any]:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return [run_trunk(trunk, image) for image in images]
