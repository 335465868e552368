"""Local response normalisation (Krizhevsky et al. 2012) in Caffe's two forms: across channels and within a channel.

y = x * (1 + alpha * mean of x^2 over the neighbourhood)^-beta, where the mean counts zeros beyond the border. torch has
the first form only, as a three-dimensional pooling that takes longer than a network's convolutions. Here each is one
pass of a compiled kernel on the CPU, forward and backward (`local`). On GPUs, in exports and for a beta other than
0.75, the mean across channels is a product with a banded matrix and that within a channel is a pooling.
"""

from __future__ import annotations

import torch
from torch import nn

from sppcli.nets.local import compiled_fits, normalise


class AcrossChannels(nn.Module):
    """Normalises over ``size`` channels around each, at the same place (Caffe's ACROSS_CHANNELS, with k = 1).

    Input and output (N, C, H, W) float. Equal to `torch.nn.LocalResponseNorm(size, alpha, beta, 1)` to rounding.
    """

    compiled_kind = "across"

    def __init__(self, channels: int, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta
        index = torch.arange(channels)
        offset = index[None, :] - index[:, None]
        # torch and Caffe take size // 2 channels before and the rest after; the kernel's mean is over all ``size``.
        near = (offset >= -(size // 2)) & (offset < size - size // 2)
        self.register_buffer("band", (near.float() / size)[:, :, None, None], persistent=False)
        self.band: torch.Tensor

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        # In this form TorchScript leaves out the branch that it cannot compile.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            result = self.plain(maps)
        else:
            fits = self.beta == 0.75 and compiled_fits(maps)
            result = normalise(maps, "across", self.size, self.alpha) if fits else self.plain(maps)
        return result

    def plain(self, maps: torch.Tensor) -> torch.Tensor:
        """The same in torch's own operations."""
        return maps * _decay(nn.functional.conv2d(maps * maps, self.band), self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}"


class WithinChannel(nn.Module):
    """Normalises over ``size`` x ``size`` places around each, ``size`` odd, in the same channel (Caffe's
    WITHIN_CHANNEL).

    Input and output (N, C, H, W) float.
    """

    compiled_kind = "within"

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        # In this form TorchScript leaves out the branch that it cannot compile.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            result = self.plain(maps)
        else:
            fits = self.beta == 0.75 and compiled_fits(maps)
            result = normalise(maps, "within", self.size, self.alpha) if fits else self.plain(maps)
        return result

    def plain(self, maps: torch.Tensor) -> torch.Tensor:
        """The same in torch's own operations."""
        mean = nn.functional.avg_pool2d(maps * maps, self.size, 1, self.size // 2)
        return maps * _decay(mean, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}"


def _decay(mean: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    base = mean * alpha + 1
    if beta == 0.75:
        # Every published network has beta = 0.75; two square roots take a fraction of a power's time.
        return torch.rsqrt(base * torch.sqrt(base))
    return base.pow(-beta)
