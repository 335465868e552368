"""Seconds of a detector of one network: a training step and an image's detection, against their multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.ops import roi_align

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.bench.pictures import draw_windows
from sppcli.learn.detector import Example, losses
from sppcli.nets.backbones import SPECS
from sppcli.nets.detector import DetectorArchitecture, SppDetector

CLASSES = 20


def rows(
    machine: Machine,
    size: tuple[int, int] = (420, 560),
    rois: int = 64,
    windows: int = 2000,
    backbone: str = "efficientnet_lite0",
    repeat: int = 3,
) -> list[Row]:
    """A step on ``rois`` RoIs and detection among ``windows`` region proposals of an image of ``size`` (height, width).

    ``backbone`` with the maps and the trained layers that are its defaults, and random weights. Detection is the maps,
    and the scores and boxes of all proposals, without suppression. The floor counts convolutions and fc layers, in a
    step forwards, for the gradients of what they read and of the weights that learn. The peer of a step: torchvision's
    RoI align.
    """
    model = _drawn(backbone)
    peer = _with_torchvisions(model)
    random = np.random.default_rng(0)
    example = _example(random, size, rois)
    pixels = example.image
    regions = torch.from_numpy(draw_windows(random, np.zeros((*size, 3), np.uint8), windows))
    table = []
    for precision in machine.products:
        autocast = precision == "bf16"
        functions: dict[str, Callable[[], Any]] = {
            "step": partial(_step, model, example, autocast),
            "torchvision": partial(_step, peer, example, autocast),
        }
        seconds = alternated(functions, repeat)
        operations = _operations(model, functions["step"])
        where = f"{backbone}, {size[1]} x {size[0]}"
        table.append(
            Row(
                "step",
                f"{where}, {rois} RoIs, {precision}",
                seconds["step"],
                machine.floor(operations, precision=precision),
                f"{operations / 1e9:.1f} G multiply-adds of a step",
                "torchvision's roi_align",
                seconds["torchvision"],
            )
        )
        found = partial(_detect, model, pixels, regions, autocast)
        took = alternated({"found": found}, repeat)["found"]
        operations = _operations(model, found)
        table.append(
            Row(
                "detect",
                f"{where}, {len(regions)} region proposals, {precision}",
                took,
                machine.floor(operations, precision=precision),
                f"{operations / 1e9:.1f} G multiply-adds of an image's detection",
            )
        )
    return table


def _drawn(backbone: str) -> SppDetector:
    """A detector on random weights."""
    spec = SPECS[backbone]
    architecture = DetectorArchitecture(
        backbone=backbone,
        cuts=spec.detector_cuts or (spec.cut,),
        layers=(),
        normalisation=spec.pixels,
        classes=tuple(f"class{i}" for i in range(CLASSES)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SppDetector(architecture)
    model.train_from(spec.train_from)
    model.to(memory_format=torch.channels_last)
    return model


def _example(random: np.random.Generator, size: tuple[int, int], rois: int) -> Example:
    image = torch.from_numpy(random.standard_normal((1, *size, 3), np.float32)).permute(0, 3, 1, 2)
    boxes = draw_windows(random, np.zeros((*size, 3), np.uint8), rois)
    labels = torch.from_numpy(random.integers(1, 1 + CLASSES, len(boxes))) * (
        torch.arange(len(boxes)) < len(boxes) // 3
    )
    return Example(image, torch.from_numpy(boxes), labels, torch.zeros(len(boxes), 4))


def _step(model: SppDetector, example: Example, autocast: bool) -> None:
    model.train()
    model.zero_grad()
    class_loss, box_loss = losses(model, example, autocast)
    (class_loss + box_loss).backward()  # type: ignore[no-untyped-call]


@torch.inference_mode()
def _detect(model: SppDetector, pixels: torch.Tensor, regions: torch.Tensor, autocast: bool) -> None:
    model.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        maps = model.maps(pixels)
    for some in regions.split(1024):  # type: ignore[no-untyped-call]
        model.classify(maps, some)


def _with_torchvisions(model: SppDetector) -> SppDetector:
    """A copy of ``model`` that pools by torchvision in training too."""

    def align(maps: torch.Tensor, cells: torch.Tensor, bins: int, samples: int) -> torch.Tensor:
        aligned: torch.Tensor = roi_align(maps.contiguous(), [cells], bins, 1.0, samples, aligned=True)
        return aligned

    copied = deepcopy(model)
    copied.align = align
    return copied


def _operations(model: SppDetector, function: Callable[[], Any]) -> int:
    """Multiply-adds of the convolutions and fc layers that ``function`` runs, and of their gradients where these are
    asked for."""
    count = 0

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal count
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        times = 1 + (inputs[0].requires_grad + layer.weight.requires_grad) * torch.is_grad_enabled()
        count += times * output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(add) for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    try:
        function()
    finally:
        for hook in hooks:
            hook.remove()
    return count
