"""R-CNN's features: each region is warped to the network's input and goes through the network by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from sppcli.errors import BadInput
from sppcli.features.whole_images import WholeImageReader
from sppcli.geometry.warp import warp_of
from sppcli.images import Normalisation, resize
from sppcli.nets.backbones import FcHead, Network
from sppcli.runtime.prefetch import prefetch
from sppcli.structures import ByteImage, FloatArray


def warped(image: ByteImage, box: Sequence[float], side: int, context: int, normalisation: Normalisation) -> FloatArray:
    """Warp a region to the network's input, (side, side, 3) float32; outside the image it is 0, which is the mean
    pixel.

    See `geometry.warp.warp_of`. Bilinear without antialiasing, as R-CNN.
    """
    warp = warp_of(box, image.shape[0], image.shape[1], side, context)
    (x0, y0, x1, y1), (left, top, right, bottom) = warp.source, warp.target
    pixels = resize(image[y0:y1, x0:x1], bottom - top, right - left)
    square = np.zeros((side, side, 3), dtype=np.float32)
    square[top:bottom, left:right] = normalisation.apply(pixels)
    return square


class RcnnReader:
    """Computes features of regions, with one forward pass for each region.

    ``layer``: pool5 (the map of the whole warped region, pooled by ``levels``) or a layer of ``head``. ``batch``:
    regions that go through the network at once; it does not change a region's features beyond rounding.

    Raises:
        UsageProblem: a side that leaves nothing after the network's layers.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: str,
        levels: Sequence[int],
        layer: str,
        head: FcHead | None,
        side: int,
        context: int,
        batch: int = 64,
    ) -> None:
        self._whole = WholeImageReader(network, device, precision, levels, layer, head if layer != "pool5" else None)
        self._normalisation = network.normalisation
        self._side = side
        self._context = context
        self._batch = batch
        self.dimensions = self._whole.check_side(side)

    def __call__(
        self, image: ByteImage, boxes: npt.NDArray[np.floating], name: str = "image"
    ) -> npt.NDArray[np.float16]:
        """Features (N, D) of the regions ``boxes`` (N, 4) of ``image`` (H, W, 3) uint8.

        Raises:
            BadInput: an activation beyond what float16 holds; ``name`` is named.
        """
        features = np.empty((len(boxes), self.dimensions), dtype=np.float16)

        def cut(start: int) -> list[FloatArray]:
            part = boxes[start : start + self._batch].tolist()
            return [warped(image, box, self._side, self._context, self._normalisation) for box in part]

        starts = range(0, len(boxes), self._batch)
        # The next batch is warped while this one is in the network.
        for start, crops in zip(starts, prefetch(cut, starts, ahead=1), strict=True):
            vectors = self._whole(crops)
            if not (np.abs(vectors) <= np.finfo(np.float16).max).all():
                raise BadInput(f"{name}: an activation of a region is beyond float16; check --input")
            features[start : start + len(crops)] = vectors
        return features


class RcnnVectors:
    """Features of one new image's regions, computed when asked for: an implementation of `windows.Vectors`.

    ``size``: the height and width that the regions refer to.
    """

    def __init__(self, reader: RcnnReader, image: ByteImage, size: tuple[int, int], name: str) -> None:
        self._reader = reader
        self._image = image
        self._name = name
        self.size = size

    def of(self, boxes: npt.NDArray[np.floating]) -> FloatArray:
        """Features (N, D) float32."""
        return self._reader(self._image, boxes, self._name).astype(np.float32)
