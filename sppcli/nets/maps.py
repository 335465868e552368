"""Conv maps of whole images: one forward pass of the trunk for each scale."""

from __future__ import annotations

import numpy as np
import torch

from sppcli.errors import BadInput, UsageProblem
from sppcli.images import Normalisation, resize, size_at
from sppcli.nets.backbones import Network, run_trunk
from sppcli.nets.local import for_inference
from sppcli.structures import ByteImage, FloatArray

PRECISIONS = ("auto", "fp32", "bf16")


def choose_device(name: str) -> torch.device:
    """``auto`` is a GPU if there is one.

    Raises:
        UsageProblem: a device this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageProblem(f"--device {name}: torch sees no CUDA device here; use --device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageProblem("--device mps: torch sees no Metal device here; use --device cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """``auto`` is bf16 where the processor has instructions for it, else fp32; others are taken as they are.

    Raises:
        UsageProblem: no such precision.
    """
    if name not in PRECISIONS:
        raise UsageProblem(f"unknown precision {name!r}; choose one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return "fp32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"


def prepare(image: ByteImage, scale: int, normalisation: Normalisation) -> torch.Tensor:
    """The image with its shorter side at ``scale``, as the network reads it: (1, 3, H, W) float32, channels last."""
    height, width = size_at(image.shape[0], image.shape[1], scale)
    pixels = torch.from_numpy(normalisation.apply(resize(image, height, width)))
    return pixels.unsqueeze(0).permute(0, 3, 1, 2)


class Extractor:
    """Runs a network's trunk; the conv map of an image at a scale is (h, w, C) float16.

    ``precision``: fp32, or bf16 for arithmetic with 8 significant bits, much faster on processors that have it.
    """

    def __init__(self, network: Network, device: torch.device, precision: str) -> None:
        self.network = network
        self.device = device
        self.precision = choose_precision(precision, device)
        self.trunk = for_inference(network.trunk.to(device).to(memory_format=torch.channels_last))

    @torch.inference_mode()
    def __call__(self, image: ByteImage, scale: int, name: str = "image") -> FloatArray:
        """Conv map (h, w, C), float16, of ``image`` (H, W, 3) uint8 with its shorter side at ``scale``.

        Raises:
            BadInput: an activation beyond what float16 holds; ``name`` is named.
        """
        pixels = prepare(image, scale, self.network.normalisation).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            maps = run_trunk(self.trunk, pixels)
        values: FloatArray = maps[0].permute(1, 2, 0).half().contiguous().cpu().numpy()
        if not np.isfinite(values).all():
            raise BadInput(f"{name}: an activation at scale {scale} is beyond float16; is the normalisation right?")
        return values
