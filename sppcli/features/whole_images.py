"""Vectors of whole images: a pyramid pools the whole conv map, and fc layers follow if asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sppcli.errors import UsageProblem
from sppcli.features.conv_maps import choose_precision
from sppcli.nets.backbones import FcHead, Network, run_trunk
from sppcli.nets.local import for_inference
from sppcli.nets.pyramid import SpatialPyramidPool
from sppcli.structures import ByteImage, FloatArray


class WholeImageReader:
    """Computes one vector per whole image (paper, sections 3.1.4 and 3.2): maps of any size give vectors of one length.

    ``layer``: pool5 (the pyramid's vector itself) or a layer of ``head``. ``flip``: the mean of the vectors of the
    image and its mirror image.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: str,
        levels: Sequence[int],
        layer: str = "pool5",
        head: FcHead | None = None,
        flip: bool = False,
    ) -> None:
        self._trunk = for_inference(network.trunk.to(device).to(memory_format=torch.channels_last))
        self._name = network.backbone
        self._pool = SpatialPyramidPool(levels)
        self._layer = layer
        self._head = head and head.moved(device)
        self._flip = flip
        self._device = device
        self.on_cpu = device.type == "cpu"
        self._bf16 = choose_precision(precision, device) == "bf16"

    @torch.inference_mode()
    def __call__(self, images: Sequence[FloatArray]) -> FloatArray:
        """Vectors (N, D) float32 of N normalised images, each (H, W, 3) float32 and all of one size.

        Which images share a batch does not change their vectors beyond rounding. Several threads may call at once.
        """
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self._device)
        vectors = self._through(pixels)
        if self._flip:
            vectors = (vectors + self._through(pixels.flip(3))) / 2
        values: FloatArray = vectors.cpu().numpy()
        return values

    def check_side(self, side: int) -> int:
        """Length of the vectors, if an image of ``side`` x ``side`` pixels leaves a map.

        Raises:
            UsageProblem: the image vanishes on the way.
        """
        try:
            return int(self([np.zeros((side, side, 3), np.float32)]).shape[1])
        except RuntimeError as error:
            if "too small" not in str(error) and "greater than actual input size" not in str(error):
                raise
            raise UsageProblem(
                f"--side {side} leaves nothing of the image after {self._name}'s layers; raise it"
            ) from None

    def _through(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            maps = run_trunk(self._trunk, pixels)
        pooled = self._pool(maps.float())
        vectors = self._head.run(pooled, self._layer) if self._head else pooled
        assert isinstance(vectors, torch.Tensor)
        return vectors


def centre_square(image: ByteImage) -> ByteImage:
    """The middle of ``image`` (H, W, 3), as wide as it is high; an odd rest stays at the right or bottom."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
