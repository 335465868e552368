"""The image at hand decides: what a file says of an image's size is compared with the image itself.

Annotations are in pixels of some frame. Where the stated size is that of a photograph as the camera stored it, and the
photograph is turned by its EXIF tag, so were the boxes drawn on the stored frame: they are turned with the image, which
is decoded upright. Any other difference is a wrong number in the file: the boxes are taken as they are, the size is the
image's, and it is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sppcli.datasets.remarks import Remark
from sppcli.errors import BadInput, MissingInput


@dataclass(frozen=True)
class Fit:
    """``size``: width, height of the upright image; as stated where the image is not at hand, or None.

    ``orientation``: of EXIF, by which the boxes are turned; 1 for none. ``stored``: width, height before that turn.
    """

    size: tuple[int, int] | None
    orientation: int = 1
    stored: tuple[int, int] = (0, 0)
    remark: Remark | None = None

    def box(self, corners: Sequence[float]) -> tuple[float, float, float, float]:
        """x0 y0 x1 y1 (0-based half-open) of the stored frame in the upright image."""
        x0, y0, x1, y1 = corners
        width, height = self.stored
        if self.orientation in (2, 3):
            x0, x1 = width - x1, width - x0
        if self.orientation in (3, 4):
            y0, y1 = height - y1, height - y0
        if self.orientation in (5, 6, 7, 8):
            x0, y0, x1, y1 = y0, x0, y1, x1  # now in a frame of height x width
            if self.orientation in (6, 7):
                x0, x1 = height - x1, height - x0
            if self.orientation in (7, 8):
                y0, y1 = width - y1, width - y0
        return x0, y0, x1, y1


def is_sideways(image: Path) -> bool:
    """Whether the file ``image`` is a photograph that its EXIF tag turns by a quarter."""
    from sppcli.images import SIDEWAYS, stored_frame

    try:
        return stored_frame(image)[1] in SIDEWAYS
    except (MissingInput, BadInput):
        return False


def fit(image: Path, stated: tuple[int, int] | None, where: str) -> Fit:
    """Compare the size ``stated`` (width, height) of the file ``image`` with the file; ``where`` it is stated."""
    from sppcli.images import SIDEWAYS, stored_frame

    try:
        stored, orientation = stored_frame(image)
    except (MissingInput, BadInput):
        return Fit(stated)  # Evaluation does without images; a damaged one is reported when it is decoded.
    size = (stored[1], stored[0]) if orientation in SIDEWAYS else stored
    if stated in (None, size):
        return Fit(size)
    assert stated is not None
    shown = f"{where}: width and height of {image.name} are {stated[0]} x {stated[1]} there"
    if orientation in SIDEWAYS and stated == stored:
        text = f"{shown}, the camera's frame; the image is turned by its EXIF tag, and its boxes were turned with it"
        kind = "{n} images are turned by their EXIF tag and annotated in the frame of the camera: boxes were turned too"
        return Fit(size, orientation, stored, Remark("size", text, kind, image.name))
    exchanged = stated == (size[1], size[0])
    why = "exchanged" if exchanged else f"wrong if the image is {size[0]} x {size[1]}"
    text = f"{shown}, {why}; the size of the image itself, {size[0]} x {size[1]}, is used, its boxes as they are"
    kind = (
        "{n} images have width and height exchanged in their annotation; the images' own sizes are used"
        if exchanged
        else "{n} images have another size than their annotation says; their own is used, boxes as they are"
    )
    item = f"{image.name} ({stated[0]} x {stated[1]} for {size[0]} x {size[1]})"
    return Fit(size, remark=Remark("size", text, kind, item))
