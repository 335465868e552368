"""Pictures: lines where the boxes are, text that does not hide text, sheets within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sppcli.errors import MissingInput
from sppcli.report.drawing import (
    WHITE,
    Colour,
    Key,
    Line,
    Mark,
    Rectangle,
    Tile,
    _common,
    _label,
    class_colours,
    contact_sheet,
    draw,
    with_head,
)
from sppcli.report.picture_files import write_png
from sppcli.structures import ByteImage

RED: Colour = (230, 75, 30)


def grey(height: int = 60, width: int = 80) -> ByteImage:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def changed(picture: ByteImage, before: ByteImage) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (half-open) around all pixels that differ."""
    rows, columns = np.nonzero((picture != before).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_a_solid_box_lies_on_its_first_and_last_pixels() -> None:
    image = grey()
    picture = draw(image, [Mark((10, 20, 50, 40), RED)])
    assert picture.shape == image.shape
    assert tuple(picture[20, 10]) == RED
    assert tuple(picture[39, 49]) == RED
    assert tuple(picture[30, 30]) == (128, 128, 128)
    # Outside the box there is only the dark rim, one pixel wide.
    assert changed(picture, image) == (9, 19, 51, 41)
    assert (image == 128).all()


def test_boxes_follow_the_size_of_the_picture() -> None:
    picture = draw(grey(), [Mark((10, 20, 50, 40), RED)], side=400)
    assert picture.shape == (300, 400, 3)
    assert tuple(picture[100, 50]) == RED
    assert tuple(picture[199, 249]) == RED
    assert tuple(picture[150, 150]) == (128, 128, 128)


@pytest.mark.parametrize("line", ["solid", "dotted", "dashed", "thin"])
@pytest.mark.parametrize(
    "box", [(0, 0, 80, 60), (-20, -20, 200, 200), (30, 30, 30, 30), (79.9, 59.9, 80, 60), (90, 70, 95, 75)]
)
def test_boxes_at_and_beyond_the_edge_are_drawn_inside(line: Line, box: tuple[float, float, float, float]) -> None:
    picture = draw(grey(), [Mark(box, RED, line, "a label wider than the whole picture", "short")])
    assert picture.shape == (60, 80, 3)
    assert (picture != grey()).any()


def test_an_image_of_one_pixel_can_be_drawn_on() -> None:
    assert draw(grey(1, 1), [Mark((0, 0, 1, 1), RED, "solid", "x")], side=480).shape == (480, 480, 3)
    assert draw(grey(1000, 1), [Mark((0, 0, 1, 1000), RED)], side=480).shape == (480, 1, 3)


def test_the_four_lines_look_different() -> None:
    pictures = [draw(grey(), [Mark((5, 5, 75, 55), RED, line)]) for line in ("solid", "dotted", "dashed", "thin")]
    shares = [(picture == RED).all(axis=2).sum() for picture in pictures]
    # A dotted line is mostly colour, a dashed one half black, a thin one transparent.
    assert shares[0] > shares[1] > shares[2] > shares[3] == 0
    assert (pictures[2] == 0).all(axis=2).any()
    assert not (pictures[0] == 0).all(axis=2).any()


def test_later_marks_lie_on_top() -> None:
    blue: Colour = (0, 150, 240)
    picture = draw(grey(), [Mark((10, 10, 50, 50), RED), Mark((10, 10, 50, 50), blue)])
    assert tuple(picture[10, 10]) == blue


def test_labels_avoid_one_another() -> None:
    pen = ImageDraw.Draw(Image.fromarray(grey(300, 400)), "RGBA")
    mark, taken = Mark((100, 100, 300, 200), RED, "solid", "disc 0.93"), list[Rectangle]()
    for _ in range(5):
        _label(pen, mark, (100, 100, 299, 199), (400, 300), 12, taken)
    assert len(taken) == 5
    assert [(a, b) for i, a in enumerate(taken) for b in taken[:i] if _common(a, b)] == []
    # The first has the usual place: above, left-aligned.
    assert taken[0][0] == 100
    assert taken[0][3] == 100


def test_only_a_narrow_picture_takes_the_short_label() -> None:
    """A small box alone does not: a label that is left out is missed by who reads the picture."""

    def width_of(mark: Mark, width: int) -> int:
        x0, _, x1, _ = changed(draw(grey(200, width), [mark]), grey(200, width))
        return x1 - x0

    small = (10.0, 100.0, 30.0, 120.0)
    long, short = "a long class name 0.93", "0.93"
    assert width_of(Mark(small, RED, "solid", long, short), 80) < 60
    assert width_of(Mark(small, RED, "solid", long, short), 400) == width_of(Mark(small, RED, "solid", long), 400) > 100


def test_letters_beyond_ascii_are_drawn() -> None:
    image = grey(200, 400)
    box = (100.0, 100.0, 300.0, 180.0)
    one, other = (draw(image, [Mark(box, RED, "solid", text)]) for text in ("größe", "grope"))
    assert (one != other).any()


def test_class_colours_are_stable_and_distinct() -> None:
    names = [f"class {i}" for i in range(80)]
    colours = class_colours(names)
    assert list(colours) == names
    assert len(set(colours.values())) == 80
    assert class_colours(names[:5]) == dict(list(colours.items())[:5])
    first = list(colours.values())[:12]
    gaps = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) for i, x in enumerate(first) for y in first[:i]]
    assert min(gaps) >= 75


def test_contact_sheet_holds_every_picture_whole() -> None:
    shades = [40, 80, 120, 160, 200]
    tiles = [Tile(f"image {shade}", np.full((90, 120, 3), shade, dtype=np.uint8)) for shade in shades]
    sheet = contact_sheet(tiles, "title", [Key("disc", RED), Key("ground truth", WHITE, "dashed")])
    for shade in shades:
        assert (sheet == shade).all(axis=2).sum() >= 90 * 120
    assert sheet.shape[1] >= sheet.shape[0]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 480, 480), (200, 360, 480), (30, 480, 4), (30, 4, 480)])
def test_contact_sheet_is_bounded(count: int, height: int, width: int) -> None:
    tiles = [Tile("a caption " * 20, np.zeros((height, width, 3), dtype=np.uint8))] * count
    keys = [Key(f"class {i}", RED) for i in range(200)]
    sheet = contact_sheet(tiles, "a title " * 200, keys, max_side=2000)
    assert max(sheet.shape) <= 2000
    assert (sheet == 0).all(axis=2).sum() > 0


def test_portraits_among_landscapes_leave_no_gaps() -> None:
    """Pictures of one height stand side by side: little of the sheet is paper."""
    wide, tall = (380, 507), (380, 285)
    sizes = [wide, tall, tall, wide, tall, wide, tall, tall] * 3
    tiles = [Tile("", np.zeros((*size, 3), dtype=np.uint8)) for size in sizes]
    sheet = contact_sheet(tiles, "", [])
    assert (sheet[60:] == 0).all(axis=2).mean() > 0.78
    rows = (sheet == 0).all(axis=2).any(axis=1)
    assert np.count_nonzero(np.diff(rows.astype(int)) == 1) < len(tiles) / 3


@pytest.mark.parametrize("x", [0, 30, 70])
def test_a_label_is_whole_wherever_its_box_lies(x: int) -> None:
    """The same number of letters' pixels at the left, in the middle, and at the right side."""

    def ink(at: int) -> int:
        image = grey(60, 100)
        marked, bare = (draw(image, [Mark((at, 20, at + 30, 50), RED, "solid", text)]) for text in ("MW 0.99", ""))
        return int((np.abs(marked.astype(int) - bare).sum(axis=2) > 0).sum())

    assert ink(x) == pytest.approx(ink(30), rel=0.2)


def test_a_label_wider_than_the_picture_gets_smaller_letters() -> None:
    image = grey(60, 60)
    taken: list[tuple[int, int, int, int]] = []
    pen = ImageDraw.Draw(Image.fromarray(image))
    _label(pen, Mark((5, 20, 30, 50), RED, "solid", "Platelets 0.99"), (5, 20, 29, 49), (60, 60), 12, taken)
    assert 0 <= taken[0][0] < taken[0][2] <= 60


def test_picture_with_head_keeps_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(50, 70, 3), dtype=np.uint8)
    page = with_head(Tile("caption", image), [Key("disc", RED)])
    assert any((page[y : y + 50, x : x + 70] == image).all() for y in range(page.shape[0] - 49) for x in range(20))


def test_png_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    path.write_text("what was there before")
    write_png(path, image)
    with Image.open(path) as read:
        assert read.format == "PNG"
        assert (np.asarray(read) == image).all()
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_png_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("disk")

    path = tmp_path / "a.png"
    path.write_text("what was there before")
    monkeypatch.setattr("sppcli.runtime.files.os.fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_png(path, grey())
    assert path.read_text() == "what was there before"
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


def test_png_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"nowhere does not exist; create it"):
        write_png(tmp_path / "nowhere" / "a.png", grey())
