"""Fixtures that tests of every folder share: a VOC data set made in a blink, and `run`, the command line in-process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sppcli.cli.main import main

SHAPES = ("disc", "square", "triangle")
COLOURS = {"disc": (214, 60, 48), "square": (40, 150, 70), "triangle": (50, 80, 200)}


@dataclass(frozen=True)
class Thing:
    """One object as it was drawn: ``box`` is x0 y0 x1 y1, 0-based and half-open, in pixels."""

    label: str
    box: tuple[int, int, int, int]
    difficult: bool = False


@dataclass
class Voc:
    """A VOC data set on disk, and what is true of it."""

    root: Path
    ids: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    things: dict[str, list[Thing]] = field(default_factory=dict)

    def image(self, image_id: str) -> Path:
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    def annotation(self, image_id: str) -> Path:
        return self.root / "Annotations" / f"{image_id}.xml"


def build_voc(
    root: Path,
    n_images: int = 6,
    *,
    size: tuple[int, int] = (96, 128),
    classes: Sequence[str] = SHAPES,
    per_image: int = 3,
    seed: int = 0,
    difficult_every: int = 0,
) -> Voc:
    """Draw a VOC data set of coloured shapes under ``root`` (made if needed) and return what it holds.

    Ids are ``000001``, ``000002`` ...; of four images in a row two are in train, one in val, one in test (trainval is
    train and val). Shapes do not overlap and lie inside the image.

    Args:
        root: becomes the VOC root, with JPEGImages, Annotations and ImageSets/Main.
        n_images: how many images.
        size: height, width in pixels.
        classes: names taken in turn; a name other than disc, square and triangle is drawn as a disc.
        per_image: objects tried per image; at least one is always placed.
        seed: of positions, sizes and background.
        difficult_every: every n-th object of the set is flagged difficult; 0 for none.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    ids = tuple(f"{i + 1:06d}" for i in range(n_images))
    splits = {
        "train": tuple(name for i, name in enumerate(ids) if i % 4 in (0, 1)),
        "val": tuple(name for i, name in enumerate(ids) if i % 4 == 2),
        "test": tuple(name for i, name in enumerate(ids) if i % 4 == 3),
    }
    splits["trainval"] = tuple(sorted(splits["train"] + splits["val"]))
    voc = Voc(root, ids, splits)
    count = 0
    for image_id in ids:
        background = rng.integers(150, 200, size=(height, width, 1)) + rng.integers(-6, 7, size=(height, width, 3))
        image = Image.fromarray(background.astype(np.uint8))
        draw = ImageDraw.Draw(image)
        placed: list[Thing] = []
        for _ in range(per_image):
            count += 1
            thing = _place(rng, size, placed, classes[(count - 1) % len(classes)])
            if thing is None:
                continue
            thing = Thing(thing.label, thing.box, bool(difficult_every) and count % difficult_every == 0)
            _draw(draw, thing)
            placed.append(thing)
        voc.things[image_id] = placed
        image.save(voc.image(image_id), quality=95)
        voc.annotation(image_id).write_text(_xml(image_id, size, placed), encoding="utf-8")
    for name, members in splits.items():
        text = "".join(f"{member}\n" for member in members)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return voc


def _place(rng: np.random.Generator, size: tuple[int, int], placed: list[Thing], label: str) -> Thing | None:
    height, width = size
    for _ in range(50):
        side = int(rng.integers(max(6, min(size) // 5), max(8, min(size) // 2)))
        x0, y0 = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
        box = (x0, y0, x0 + side, y0 + side)
        if all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in (t.box for t in placed)):
            return Thing(label, box)
    return None


def _draw(draw: ImageDraw.ImageDraw, thing: Thing) -> None:
    x0, y0, x1, y1 = thing.box
    colour = COLOURS.get(thing.label, (200, 160, 30))
    last = (x0, y0, x1 - 1, y1 - 1)  # Pillow's ends are inclusive
    if thing.label == "square":
        draw.rectangle(last, fill=colour)
    elif thing.label == "triangle":
        draw.polygon([(x0, y1 - 1), ((x0 + x1) // 2, y0), (x1 - 1, y1 - 1)], fill=colour)
    else:
        draw.ellipse(last, fill=colour)


def _xml(image_id: str, size: tuple[int, int], things: list[Thing]) -> str:
    height, width = size
    objects = "".join(
        f"<object><name>{escape(thing.label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>{int(thing.difficult)}</difficult><bndbox><xmin>{thing.box[0] + 1}</xmin>"
        f"<ymin>{thing.box[1] + 1}</ymin><xmax>{thing.box[2]}</xmax><ymax>{thing.box[3]}</ymax></bndbox></object>\n"
        for thing in things
    )
    return (
        f"<annotation><folder>VOC</folder><filename>{image_id}.jpg</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n{objects}</annotation>\n"
    )


@pytest.fixture
def make_voc(tmp_path: Path) -> Callable[..., Voc]:
    """``make_voc(n_images=6, name="voc", ...)``: `build_voc` under the test's own folder."""

    def make(n_images: int = 6, name: str = "voc", **options: object) -> Voc:
        return build_voc(tmp_path / name, n_images, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def voc(make_voc: Callable[..., Voc]) -> Voc:
    """Eight small images in train, val and test."""
    return make_voc(8)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("propose", "shapes")`` -> exit code, standard output, standard error."""

    def call(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
