"""The views of an image that a classifier is tested with, and the mean of their scores (paper, section 3).

| protocol | views |
|---|---|
| center | the centre crop of the image at shorter side 256 |
| ten | its four corner crops and its centre crop, and their mirror images |
| full | the whole image at shorter side 256 as one view |
| multi | at six scales, centre, corners and middles of the sides; the whole image; all of them mirrored too |

Crops that coincide count once: at scale 224 three of nine are left, so that multi has 96 views and 2. Sizes are for
networks trained at 224 and scale with the size that a network was trained at. Views are crops that go through the
network one by one, or regions of the conv maps of the whole image, which are computed once for each scale and mirror
image. A crop and its region differ in what surrounds them: zeros for the crop, the image for the region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sppcli.errors import UsageProblem
from sppcli.images import CENTRE, crop_start, shorter_side, size_at
from sppcli.nets.backbones import run_trunk
from sppcli.nets.classifier import SppClassifier
from sppcli.nets.pixels import to_input
from sppcli.structures import ByteImage, FloatArray

PROTOCOLS = ("center", "ten", "full", "multi")

# For a network trained at 224 (paper, section 3.1.4).
_TRAINED, _SIDE, _SCALES = 224, 256, (224, 256, 300, 360, 448, 560)

_MIDDLE = (CENTRE, CENTRE)
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
_SIDES = ((0.0, CENTRE), (CENTRE, 0.0), (CENTRE, 1.0), (1.0, CENTRE))


@dataclass(frozen=True)
class Scale:
    """The views of the image at shorter side ``side``.

    Crops at ``places`` (y, x as shares of the room), or, with none, the whole image; with ``flip`` mirrored too.
    """

    side: int
    places: tuple[tuple[float, float], ...]
    flip: bool


def scales_of(protocol: str, trained: int, sides: Sequence[int] | None = None) -> tuple[Scale, ...]:
    """The scales of a protocol for a network trained at ``trained`` pixels; ``sides`` takes the place of its own.

    Raises:
        UsageProblem: an unknown protocol, or a side smaller than the crop.
    """
    if protocol not in PROTOCOLS:
        raise UsageProblem(f"unknown views {protocol!r}; choose one of {', '.join(PROTOCOLS)}")

    def fitted(pixels: int) -> int:
        return round(pixels * trained / _TRAINED)

    if protocol == "full":
        return tuple(Scale(side, (), False) for side in sides or [fitted(_SIDE)])
    own = _SCALES if protocol == "multi" else (_SIDE,)
    chosen = tuple(sides or [fitted(side) for side in own])
    if min(chosen) < trained:
        raise UsageProblem(f"an image of {min(chosen)} pixels has no view of {trained}; raise --scales")
    if protocol == "center":
        return tuple(Scale(side, (_MIDDLE,), False) for side in chosen)
    if protocol == "ten":
        return tuple(Scale(side, (_MIDDLE, *_CORNERS), True) for side in chosen)
    crops = tuple(Scale(side, (_MIDDLE, *_CORNERS, *_SIDES), True) for side in chosen)
    return (*crops, Scale(fitted(_SIDE), (), True))


class Viewer:
    """Classifies images by several views with one network.

    Args:
        model: in evaluation mode.
        protocol: one of `PROTOCOLS`.
        source: ``crops``, ``maps``, or ``auto``: maps for full and multi, and for ten where the network has a pyramid.
        sides: see `scales_of`.
        device: where it runs.
        autocast: whether convolutions and products are done in bfloat16.

    Raises:
        UsageProblem: a baseline without pyramid asked for what only a pyramid can do.
    """

    def __init__(
        self,
        model: SppClassifier,
        protocol: str,
        source: str = "auto",
        sides: Sequence[int] | None = None,
        device: torch.device | None = None,
        autocast: bool = False,
    ) -> None:
        self.crop = model.architecture.input_size
        self.scales = scales_of(protocol, self.crop, sides)
        fixed = model.architecture.pool is not None
        if fixed and not all(scale.places for scale in self.scales):
            raise UsageProblem(
                f"{model.architecture.name} without a pyramid takes inputs of {self.crop} pixels only; its views are "
                "center and ten"
            )
        if fixed and source == "maps":
            raise UsageProblem(f"{model.architecture.name} without a pyramid pools no regions; leave out --from maps")
        self.source = source
        if source == "auto":
            self.source = "crops" if fixed or protocol == "center" else "maps"
        self.device = device or torch.device("cpu")
        self.autocast = autocast
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stride = model.grid().stride

    def count(self, height: int, width: int) -> int:
        """Number of distinct views of an image of this size."""
        total = 0
        for scale in self.scales:
            sides = size_at(height, width, scale.side)
            total += (1 + scale.flip) * (len(self._corners(scale, *sides)) or 1)
        return total

    @torch.inference_mode()
    def probabilities(self, images: Sequence[ByteImage]) -> FloatArray:
        """Mean of the softmax over all views, (N, classes) float32, of ``images`` (H, W, 3) uint8 of one size."""
        total = torch.zeros(len(images), len(self.model.architecture.classes), device=self.device)
        views = 0
        for scale in self.scales:
            resized = np.stack([shorter_side(image, scale.side) for image in images])
            corners = self._corners(scale, *resized.shape[1:3])
            for pixels in (resized, resized[:, :, ::-1])[: 1 + scale.flip]:
                for logits in self._logits(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device), corners):
                    total += logits.float().softmax(dim=1)
                    views += 1
        mean: FloatArray = (total / views).cpu().numpy()
        return mean

    def _corners(self, scale: Scale, height: int, width: int) -> list[tuple[int, int]]:
        """Top left pixels of the crops, without duplicates; none for the whole image."""
        places = [(crop_start(y, height - self.crop), crop_start(x, width - self.crop)) for y, x in scale.places]
        return list(dict.fromkeys(places))

    def _logits(self, pixels: torch.Tensor, corners: list[tuple[int, int]]) -> list[torch.Tensor]:
        """Logits (N, classes) of each view of ``pixels`` (N, H, W, 3) uint8."""
        normalisation, model, crop = self.model.architecture.normalisation, self.model, self.crop
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            if corners and self.source == "crops":
                cut = torch.cat([pixels[:, y : y + crop, x : x + crop] for y, x in corners])
                return list(model(to_input(cut, normalisation)).chunk(len(corners)))
            maps = run_trunk(model.trunk, to_input(pixels, normalisation))
            if not corners:
                return [model.classify(model.pool(maps))]
            return [model.classify(model.pool(self._window(maps, y, x))) for y, x in corners]

    def _window(self, maps: torch.Tensor, y: int, x: int) -> torch.Tensor:
        """The cells of the crop at (y, x): as many as a crop's own map has, from where its first unit falls.

        Unit k of a crop's map looks at what unit k + y / stride of the whole image's map looks at.
        """
        rows, columns = maps.shape[2:]
        cells = self.model.cells
        top = min(round(y / self.stride), max(0, rows - cells))
        left = min(round(x / self.stride), max(0, columns - cells))
        return maps[:, :, top : top + cells, left : left + cells]


def top_classes(probabilities: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
    """Indices (N, k) of the k most probable of (N, classes), best first; the first of equals first."""
    return np.asarray(np.argsort(-probabilities, axis=1, kind="stable")[:, :k], dtype=np.int64)
