"""Conv maps of whole images: one forward pass of the trunk for each scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sppcli.errors import BadInput, UsageProblem
from sppcli.images import Normalisation, check_scales, resize, size_at
from sppcli.nets.backbones import Network, run_trunk
from sppcli.nets.local import for_inference
from sppcli.nets.pixels import to_input
from sppcli.structures import ByteImage, FloatArray

PRECISIONS = ("auto", "fp32", "bf16")


def choose_device(name: str) -> torch.device:
    """Return the device ``name``; ``auto`` is a GPU if there is one.

    Raises:
        UsageProblem: this machine does not have the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageProblem(f"--device {name}: torch sees no CUDA device here; use --device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageProblem("--device mps: torch sees no Metal device here; use --device cpu")
    return torch.device(name)


def gpu(device: torch.device) -> torch.device | None:
    """Return ``device``; None for the CPU, which has kernels of its own."""
    return None if device.type == "cpu" else device


def choose_precision(name: str, device: torch.device) -> str:
    """Return the precision ``name``; ``auto`` is bf16 where the processor has instructions for it, else fp32.

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


def prepare(
    images: Sequence[ByteImage], scale: int, normalisation: Normalisation, device: torch.device
) -> torch.Tensor:
    """Resize N images of one size to shorter sides of ``scale``, and normalise them for the network.

    Returns (N, 3, H, W) float32 on ``device``, channels last in memory.
    """
    height, width = size_at(images[0].shape[0], images[0].shape[1], scale)
    resized = [resize(image, height, width) for image in images]
    if device.type == "cpu":
        pixels = [normalisation.apply(image) for image in resized]
        batch = pixels[0][None] if len(pixels) == 1 else np.stack(pixels)
        return torch.from_numpy(batch).permute(0, 3, 1, 2)
    # The images are transferred as bytes, a quarter of the floats' size, and normalised on the device.
    whole = torch.from_numpy(np.stack(resized))
    if device.type != "cuda":
        return to_input(whole.to(device), normalisation)
    # From pinned memory the copy runs by itself: this thread resizes for the next scale while the GPU works.
    return to_input(whole.pin_memory().to(device, non_blocking=True), normalisation)


class Extractor:
    """Runs a network's trunk; the conv map of an image at a scale is (h, w, C) float16.

    ``precision``: fp32, or bf16 for arithmetic with 8 significant bits, much faster on processors that have it.
    """

    def __init__(self, network: Network, device: torch.device, precision: str) -> None:
        self.network = network
        self.device = device
        self.precision = choose_precision(precision, device)
        self.trunk = for_inference(network.trunk.to(device).to(memory_format=torch.channels_last))

    def __call__(self, image: ByteImage, scale: int, name: str = "image") -> FloatArray:
        """Conv map (h, w, C), float16, of ``image`` (H, W, 3) uint8 with its shorter side at ``scale``.

        Raises:
            BadInput: an activation is beyond what float16 holds; the text names ``name``.
        """
        values: FloatArray = self.batch([image], [scale], [name])[0][0]
        return values

    @torch.inference_mode()
    def batch(self, images: Sequence[ByteImage], scales: Sequence[int], names: Sequence[str]) -> list[FloatArray]:
        """Conv maps (N, h, w, C), float16, at each of ``scales``, of N images of one size.

        Which images share a batch does not change their maps beyond rounding.

        Raises:
            BadInput: an activation is beyond what float16 holds, or an image has more pixels at a scale than
                `check_scales` allows; the text names the first such image of ``names``.
        """
        check_scales(images[0].shape[0], images[0].shape[1], scales, names[0])
        # A GPU is given all scales before the first map is waited for.
        running = [self._run(images, scale) for scale in scales]
        found: list[FloatArray] = [maps.cpu().numpy() for maps in running]
        for values, scale in zip(found, scales, strict=True):
            for one, name in zip(values, names, strict=True):
                if not np.isfinite(one).all():
                    raise BadInput(
                        f"{name}: an activation at scale {scale} is beyond float16; does --input suit the weights?"
                    )
        return found

    def _run(self, images: Sequence[ByteImage], scale: int) -> torch.Tensor:
        pixels = prepare(images, scale, self.network.normalisation, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            maps = run_trunk(self.trunk, pixels)
        return maps.permute(0, 2, 3, 1).half().contiguous()
