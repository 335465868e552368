"""Turns pixels into what networks read, on tensors of any device."""

from __future__ import annotations

import torch
from torch import nn

from sppcli.images import Normalisation


def to_input(
    images: torch.Tensor,
    normalisation: Normalisation,
    size: int | None = None,
    gain: torch.Tensor | None = None,
    lift: torch.Tensor | None = None,
) -> torch.Tensor:
    """Turn images (B, H, W, 3) uint8 RGB into a network's input.

    Each pixel v becomes v * gain + lift by channel, (B, 3) each, within 0..255; the image is resized to ``size`` x
    ``size`` (bilinear, antialiased) where that is given, and normalised as by `Normalisation.apply`.

    Returns (B, 3, H, W) float32, channels last in memory.
    """
    value = images.permute(0, 3, 1, 2).float()
    if gain is not None and lift is not None:
        value = (value * gain[:, :, None, None] + lift[:, :, None, None]).clamp_(0, 255)
    if size is not None and value.shape[2:] != (size, size):
        value = nn.functional.interpolate(value, (size, size), mode="bilinear", antialias=True)
    if normalisation.order == "bgr":
        value = value.flip(1)
    scale = torch.tensor([1 / (normalisation.divisor * s) for s in normalisation.std], device=value.device)
    shift = torch.tensor([m / s for m, s in zip(normalisation.mean, normalisation.std, strict=True)])
    value = value * scale[:, None, None] - shift.to(value.device)[:, None, None]
    return value.contiguous(memory_format=torch.channels_last)
