"""Fully connected layers as the bench runs them: on a device, in a precision, whole or by truncated SVD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sppcli.errors import UsageProblem
from sppcli.nets.backbones import FcHead


@dataclass(frozen=True)
class Head:
    """Linear maps in turn, a ReLU after each that has a bias. ``layers``: (weight (out, in), bias (out,) or None)."""

    layers: Sequence[tuple[torch.Tensor, torch.Tensor | None]]

    @property
    def operations(self) -> int:
        """Multiply-adds of one window."""
        return sum(weight.numel() for weight, _ in self.layers)

    def moved(self, device: torch.device, precision: str) -> Head:
        """The same on ``device``, float32 or with ``precision`` bf16 bfloat16."""
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        return Head(
            [(weight.to(device, kind), None if bias is None else bias.to(device, kind)) for weight, bias in self.layers]
        )

    def run(self, pooled: torch.Tensor) -> torch.Tensor:
        """``pooled`` (N, in) -> (N, out) float32."""
        value = pooled.to(self.layers[0][0].dtype)
        for weight, bias in self.layers:
            value = nn.functional.linear(value, weight, bias)
            if bias is not None:
                value = value.relu_()
        return value.float()


@torch.inference_mode()
def head_of(head: FcHead, ranks: Sequence[int] = ()) -> Head:
    """``head``; with ``ranks``, one a layer, each weight (out, in) as two maps (rank, in) and (out, rank).

    Truncated SVD as in Fast R-CNN (Girshick 2015), section 3.1, computed at random (Halko et al. 2009).

    Raises:
        UsageProblem: ranks that are not one for each layer, or not below what the layer has.
    """
    if not ranks:
        return Head(list(head.layers.values()))
    text = ",".join(map(str, ranks))
    if len(ranks) != len(head.layers):
        raise UsageProblem(f"--svd {text}: the network has the layers {', '.join(head.layers)}; give one rank for each")
    layers: list[tuple[torch.Tensor, torch.Tensor | None]] = []
    for (name, (weight, bias)), rank in zip(head.layers.items(), ranks, strict=True):
        if rank >= min(weight.shape):
            raise UsageProblem(
                f"--svd {text}: {name} has rank {min(weight.shape)} already; give one below {min(weight.shape)}"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, values, right = torch.svd_lowrank(weight, rank)
        layers += [(right.T.contiguous(), None), ((left * values).contiguous(), bias)]
    return Head(layers)
