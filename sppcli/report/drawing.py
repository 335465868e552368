"""Draws boxes on images, and contact sheets of these. All works on arrays; `picture_files` writes them.

Images are RGB uint8 (H, W, 3); boxes are x0 y0 x1 y1, 0-based half-open, in pixels of the original image, whatever the
size of the picture.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from sppcli.report.fonts import Font, face
from sppcli.structures import ByteImage

Colour = tuple[int, int, int]
Line = Literal["solid", "dotted", "dashed", "thin"]
Rectangle = tuple[int, int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
PAPER: Colour = (250, 250, 248)
INK: Colour = (30, 30, 30)

# Colours that differ on photographs and for most colour-blind people, the most distinct first.
_PALETTE: tuple[Colour, ...] = (
    (230, 75, 30),
    (0, 150, 240),
    (255, 205, 0),
    (20, 170, 90),
    (225, 85, 190),
    (0, 205, 200),
    (140, 80, 220),
    (150, 225, 60),
    (255, 145, 130),
    (160, 95, 30),
    (60, 85, 225),
    (120, 200, 255),
)
_MARGIN = 14
_CAPTION = 280  # pixels that a caption may take below a narrow picture
MAX_SHEET_SIDE = 4096


@dataclass(frozen=True)
class Mark:
    """One box to draw.

    ``box`` x0 y0 x1 y1 in image pixels. ``line``: solid; dotted; dashed (black between the dashes, finer without a
    label: for ground truth); thin (one pixel, transparent: for many at once). ``label`` stands at a corner; ``short``
    takes its place on pictures so small that labels of small boxes would hide them. Marks given first lie below;
    labels given last are placed first.
    """

    box: tuple[float, float, float, float]
    colour: Colour
    line: Line = "solid"
    label: str = ""
    short: str = ""


@dataclass(frozen=True)
class Key:
    """An entry of the legend: a sample of a line, and what it means."""

    text: str
    colour: Colour
    line: Line = "solid"


@dataclass(frozen=True)
class Tile:
    """One picture of a contact sheet."""

    caption: str
    image: ByteImage


def class_colours(classes: Sequence[str]) -> dict[str, Colour]:
    """A colour for each class, by position: the first twelve from a palette, then hues ever finer apart."""
    colours: dict[str, Colour] = {}
    for i, name in enumerate(classes):
        if i < len(_PALETTE):
            colours[name] = _PALETTE[i]
        else:
            hue = (i * 0.618034) % 1.0
            red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.55)[i % 2], (1.0, 0.8)[i // 2 % 2])
            colours[name] = (round(255 * red), round(255 * green), round(255 * blue))
    return colours


def draw(image: ByteImage, marks: Sequence[Mark], side: int | None = None) -> ByteImage:
    """``image`` with ``marks`` on it.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        marks: in the order of drawing.
        side: length of the picture's longer side in pixels; the image is resized to it, so that lines and text stay
            readable on small images. None keeps the size.
    """
    height, width = image.shape[:2]
    scale = 1.0 if side is None else side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(image)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.LANCZOS)
    # "RGBA" mixes each stroke with what is there; the picture itself stays RGB.
    pen = ImageDraw.Draw(picture, "RGBA")
    stroke = max(2, round(max(size) / 300))
    text_size = min(28, max(11, round(max(size) / 40)))
    spots: list[tuple[Mark, Rectangle]] = []
    for mark in marks:
        spot = _scaled(mark.box, scale, size)
        quiet = mark.line == "dashed" and not mark.label
        _outline(pen, spot, mark.colour, mark.line, max(1, stroke // 2) if quiet else stroke)
        spots.append((mark, spot))
    taken: list[Rectangle] = []
    for mark, spot in reversed(spots):
        if mark.label:
            _label(pen, mark, spot, size, text_size, taken)
    return np.asarray(picture, dtype=np.uint8)


def contact_sheet(tiles: Sequence[Tile], title: str, keys: Sequence[Key], max_side: int = MAX_SHEET_SIDE) -> ByteImage:
    """Pictures in rows with their captions, a title and a legend above; the sheet is about 4:3.

    Each picture stands beside the one before it, so that portraits among landscapes leave no gaps.

    Args:
        tiles: at least one, in reading order; shrunk where the sheet would be larger than ``max_side`` pixels per side.
        title: cut to one line.
        keys: the legend, as many lines as it takes.
        max_side: bound of the sheet's width and height.
    """
    caption_size = 15
    below = caption_size + 10 + _MARGIN
    factor = 1.0
    while True:
        sizes = [(max(1, int(t.image.shape[1] * factor)), max(1, int(t.image.shape[0] * factor))) for t in tiles]
        cells = [
            max(w, min(_extent(t.caption, caption_size)[0], int(_CAPTION * factor)))
            for t, (w, _) in zip(tiles, sizes, strict=True)
        ]
        rows = _rows(cells, [height + below for _, height in sizes], max_side - 2 * _MARGIN)
        heights = [max(sizes[i][1] for i in row) for row in rows]
        inner = max(sum(cells[i] + _MARGIN for i in row) - _MARGIN for row in rows)
        # The width of a legend line depends on the sheet's, so room for it is set aside first.
        if (inner + 2 * _MARGIN <= max_side and sum(heights) + len(rows) * below <= max_side - 300) or factor < 1e-3:
            break
        factor *= 0.93
    width = max(inner + 2 * _MARGIN, min(640, max_side))
    head = _head(title, keys, width, room=300)
    sheet = Image.new("RGB", (width, head.height + sum(heights) + len(rows) * below), PAPER)
    sheet.paste(head, (0, 0))
    pen = ImageDraw.Draw(sheet)
    y = head.height
    for row, row_height in zip(rows, heights, strict=True):
        x = _MARGIN
        for i in row:
            image = tiles[i].image if factor == 1 else _shrunk(tiles[i].image, sizes[i])
            sheet.paste(Image.fromarray(image), (x, y))
            caption = _fitted(tiles[i].caption, caption_size, cells[i])
            pen.text((x, y + image.shape[0] + 3), caption, INK, _font(caption_size, caption))
            x += cells[i] + _MARGIN
        y += row_height + below
    return np.asarray(sheet, dtype=np.uint8)


def _rows(widths: Sequence[int], heights: Sequence[int], room: int) -> list[list[int]]:
    """Pictures of these sizes in rows as wide as a 4:3 sheet of them is, and at most ``room`` pixels."""
    area = sum((width + _MARGIN) * height for width, height in zip(widths, heights, strict=True))
    wanted = (area * 4 / 3) ** 0.5 + (sum(widths) / len(widths) + _MARGIN) / 2
    limit = max(max(widths), min(wanted, room))
    rows: list[list[int]] = []
    x = 0
    for i, width in enumerate(widths):
        if not rows or x + width > limit:
            rows.append([])
            x = 0
        rows[-1].append(i)
        x += width + _MARGIN
    return rows


def with_head(tile: Tile, keys: Sequence[Key]) -> ByteImage:
    """One picture with its caption and the legend above."""
    height, width = tile.image.shape[:2]
    head = _head(tile.caption, keys, max(width + 2 * _MARGIN, 480), room=300)
    page = Image.new("RGB", (head.width, head.height + height + _MARGIN), PAPER)
    page.paste(head, (0, 0))
    page.paste(Image.fromarray(tile.image), (_MARGIN, head.height))
    return np.asarray(page, dtype=np.uint8)


def _scaled(box: tuple[float, float, float, float], scale: float, size: tuple[int, int]) -> Rectangle:
    """First and last pixel (inclusive) of a box on the picture, at least one pixel inside it."""
    ends = (box[0] * scale, box[1] * scale, box[2] * scale - 1, box[3] * scale - 1)
    x0, y0 = (min(max(0, round(ends[i])), size[i] - 1) for i in (0, 1))
    x1, y1 = (min(max((x0, y0)[i], round(ends[2 + i])), size[i] - 1) for i in (0, 1))
    return x0, y0, x1, y1


def _outline(pen: ImageDraw.ImageDraw, spot: Rectangle, colour: Colour, line: Line, stroke: int) -> None:
    if line == "thin":
        pen.rectangle(spot, outline=(*colour, 110), width=1)
        return
    if line == "solid":
        # A dark rim keeps a bright line readable on a bright image.
        x0, y0, x1, y1 = spot
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0, 130), width=stroke + 2)
        pen.rectangle(spot, outline=colour, width=stroke)
        return
    if line == "dashed":
        pen.rectangle(spot, outline=BLACK, width=stroke)
        _dashes(pen, spot, colour, stroke, 2 * stroke + 4, 2 * stroke + 2)
        return
    pen.rectangle(spot, outline=(0, 0, 0, 110), width=stroke + 1)
    _dashes(pen, spot, colour, stroke + 1, 2 * stroke + 1, stroke + 1)


def _dashes(pen: ImageDraw.ImageDraw, spot: Rectangle, colour: Colour, width: int, dash: int, gap: int) -> None:
    """Dashes of ``dash`` pixels with ``gap`` between along the four sides, inside ``spot``."""
    x0, y0, x1, y1 = spot
    for x in range(x0, x1 + 1, dash + gap):
        end = min(x + dash - 1, x1)
        pen.rectangle((x, y0, end, min(y0 + width - 1, y1)), fill=colour)
        pen.rectangle((x, max(y1 - width + 1, y0), end, y1), fill=colour)
    for y in range(y0, y1 + 1, dash + gap):
        end = min(y + dash - 1, y1)
        pen.rectangle((x0, y, min(x0 + width - 1, x1), end), fill=colour)
        pen.rectangle((max(x1 - width + 1, x0), y, x1, end), fill=colour)


def _label(
    pen: ImageDraw.ImageDraw,
    mark: Mark,
    spot: Rectangle,
    size: tuple[int, int],
    text_size: int,
    taken: list[Rectangle],
) -> None:
    """Write a mark's label where it covers least of the labels already there; whole, if need be in smaller letters."""
    text = mark.label
    wide = _extent(text, text_size)[0]
    if mark.short and wide > 1.5 * (spot[2] - spot[0] + 1) and wide > 0.4 * size[0]:
        text = mark.short
    while text_size > 5 and _extent(text, text_size)[0] + 6 > size[0]:
        text_size -= 1
    width, height = _extent(text, text_size)
    width, height = width + 6, height + 4
    x0, y0, x1, y1 = spot
    right, above, below = x1 - width + 1, y0 - height, y1 + 1
    corners: list[tuple[int, int]] = [(x0, above), (x0, y0), (x0, below), (right, above), (right, below)]
    corners += [(right, y0), (x0, below - height), (x1 + 1, y0), (x0 - width, y0), (right, below - height)]
    places: list[Rectangle] = []
    for x, y in corners:
        left, top = max(0, min(x, size[0] - width)), max(0, min(y, size[1] - height))
        places.append((left, top, left + width, top + height))
    best = min(places, key=lambda place: sum(_common(place, other) for other in taken))
    taken.append(best)
    hollow = mark.line == "dotted"
    back = (20, 20, 20) if hollow else mark.colour
    front = _lighter(mark.colour) if hollow else _ink_on(mark.colour)
    pen.rectangle((best[0], best[1], best[2] - 1, best[3] - 1), fill=(*back, 225))
    pen.text((best[0] + 3, best[1] + 2), text, front, _font(text_size, text), anchor="la")


def _common(a: Rectangle, b: Rectangle) -> int:
    """Pixels that two half-open rectangles share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _ink_on(colour: Colour) -> Colour:
    """Black or white, whichever reads better on ``colour`` (ITU-R BT.601 luma)."""
    return BLACK if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140 else WHITE


def _lighter(colour: Colour) -> Colour:
    """Half way to white."""
    return (colour[0] + 255) // 2, (colour[1] + 255) // 2, (colour[2] + 255) // 2


def _head(title: str, keys: Sequence[Key], width: int, room: int) -> Image.Image:
    """Title and legend, ``width`` pixels wide and at most ``room`` high."""
    title_size, key_size, sample = 20, 15, 30
    inner = width - 2 * _MARGIN
    lines: list[list[tuple[int, Key]]] = [[]]
    x = 0
    for key in keys:
        extent = sample + 6 + _extent(key.text, key_size)[0] + 22
        if x and x + extent > inner:
            lines.append([])
            x = 0
        lines[-1].append((x, key))
        x += extent
    top = _MARGIN + title_size + 12
    step = key_size + 11
    lines = lines[: (room - top) // step] if keys else []
    head = Image.new("RGB", (width, top + len(lines) * step + 4), PAPER)
    pen = ImageDraw.Draw(head, "RGBA")
    title = _fitted(title, title_size, inner)
    pen.text((_MARGIN, _MARGIN - 2), title, INK, _font(title_size, title))
    for number, line in enumerate(lines):
        y = top + number * step
        for x, key in line:
            left = _MARGIN + x
            _outline(pen, (left, y, left + sample - 1, y + key_size + 2), key.colour, key.line, 3)
            pen.text((left + sample + 6, y), key.text, INK, _font(key_size, key.text))
    return head


def _shrunk(image: ByteImage, size: tuple[int, int]) -> ByteImage:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def _fitted(text: str, size: int, width: int) -> str:
    """``text``, or as much of its beginning and end as fits ``width`` pixels."""
    if _extent(text, size)[0] <= width:
        return text
    fits, too_long = 1, len(text)
    while too_long - fits > 1:
        kept = (fits + too_long) // 2
        if _extent(_shortened(text, kept), size)[0] <= width:
            fits = kept
        else:
            too_long = kept
    return _shortened(text, fits) if fits > 1 else ""


def _shortened(text: str, kept: int) -> str:
    """``kept`` letters of ``text``, half from each end, with dots between."""
    return f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def _extent(text: str, size: int) -> tuple[int, int]:
    """Width of ``text``, and the height of any line at this size, in pixels."""
    return int(np.ceil(_font(size, text).getlength(text))), round(size * 1.15)


def _font(size: int, text: str) -> Font:
    return face(size, text)
