"""Small JPEGs of images for a page that is to stay small, and the boxes that the page draws over them."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from sppcli.structures import ByteImage

# Longer side in pixels and JPEG quality, the best first; the last are taken whatever they come to.
_LADDER = ((960, 80), (800, 78), (640, 76), (560, 70), (480, 66), (400, 60), (320, 55), (240, 50))
_KEPT_SIDE = _LADDER[0][0]


@dataclass(frozen=True)
class Shape:
    """One box on a picture.

    ``kind``: right, false, ignored, truth or difficult; ``label``: what is written at it; ``group``: index of its
    class; ``step``: a detection is shown up to this step of the threshold, an object is found up to it (-1: never).
    """

    kind: str
    x: float
    y: float
    width: float
    height: float
    label: str
    group: int
    step: int


@dataclass(frozen=True)
class Picture:
    """An image of the page. ``data``: its JPEG as a data URI, "" where it cannot be read and ``problem`` says why.

    ``width``, ``height``: of the image, whose pixels the shapes are in; ``more``: detections that are not drawn.
    """

    id: str
    data: str
    width: int
    height: int
    shapes: tuple[Shape, ...]
    more: int = 0
    problem: str = ""

    @property
    def text_size(self) -> float:
        """Height of the letters, in pixels of the image."""
        return round(max(self.width, self.height) / 34, 1)

    def place(self, shape: Shape) -> tuple[float, float, str]:
        """Where the label of a box stands: x, y of its base line, and "end" where it would reach over the right."""
        size = self.text_size
        y = shape.y - 0.25 * size if shape.y > 1.2 * size else shape.y + size
        # Letters are about 0.6 as wide as they are high.
        over = shape.x + 0.6 * size * len(shape.label) > self.width
        x = min(shape.x + shape.width, self.width) if over else shape.x
        return round(x, 1), round(y, 1), "end" if over else ""

    def counts(self, step: int) -> dict[str, int]:
        """Detections that are right and false, and objects that are missed, at a step of the threshold."""
        kept = Counter(shape.kind for shape in self.shapes if shape.step >= step)
        missed = sum(shape.kind == "truth" and shape.step < step for shape in self.shapes)
        return {"right": kept["right"], "false": kept["false"], "missed": missed}


def reduced(image: ByteImage) -> Image.Image:
    """The image as large as a page may show it at most."""
    picture = Image.fromarray(image)
    picture.thumbnail((_KEPT_SIDE, _KEPT_SIDE), Image.Resampling.LANCZOS)
    return picture


def encoded(images: Sequence[Image.Image], budget: int) -> list[str]:
    """Data URIs of ``images``, all at one size and quality: the best whose total is at most ``budget`` bytes of text.

    With very many images it may be more than that, as there is a smallest size.
    """
    for side, quality in _LADDER:
        found = []
        for image in images:
            found.append(_jpeg(image, side, quality))
            if sum(map(len, found)) > budget:
                break
        else:
            return found
    side, quality = _LADDER[-1]
    return [_jpeg(image, side, quality) for image in images]


def _jpeg(image: Image.Image, side: int, quality: int) -> str:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
