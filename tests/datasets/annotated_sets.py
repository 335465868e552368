"""Annotated data sets at random, and small ones written by hand, for tests of the formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

from sppcli.datasets import open_dataset
from sppcli.datasets.annotated import AnnotatedImage, AnnotatedSet, LabelledBox
from sppcli.datasets.base import Dataset
from sppcli.datasets.records import IMAGE_FOLDERS, WRITERS, collect

NAMES = ("cat", "traffic light", "Müller", "a&b<c>", "x_y", "n01440764", "no", "1", "true")
IDS = ("000001", "a", "b.c", "deep/er/9", "images/x", "labels/y", "Ünï", "blank in it", "000000000139", "d.jpg")


def image_file(path: Path, size: tuple[int, int] = (64, 48), red: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, 130, 140)).save(path)
    return path


@st.composite
def boxes(draw: st.DrawFn, size: tuple[int, int], whole: bool) -> tuple[float, float, float, float]:
    """Inside an image of ``size``; whole pixels two or more apart, or hundredths."""
    sides = []
    for side in size:
        unit = 1 if whole else 100
        start = draw(st.integers(0, (side - 2) * unit))
        end = draw(st.integers(start + 2 * unit, side * unit))
        sides.append((start / unit, end / unit))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


@st.composite
def annotated_sets(
    draw: st.DrawFn, root: Path, *, whole: bool, flags: bool = True, crowds: bool = False, ids: tuple[str, ...] = IDS
) -> AnnotatedSet:
    """A random set; its images are written to ``root``. Every image is in a split, where there is one."""
    classes = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)))
    images = []
    for image_id in draw(st.lists(st.sampled_from(ids), min_size=1, max_size=5, unique=True)):
        size = (draw(st.integers(2, 999)), draw(st.integers(2, 999)))
        path = image_file(root / f"{image_id}.{draw(st.sampled_from(['jpg', 'png']))}", size)
        objects = tuple(
            LabelledBox(
                draw(st.sampled_from(classes)),
                draw(boxes(size, whole)),
                flags and draw(st.booleans()),
                flags and draw(st.booleans()),
                crowds and draw(st.booleans()),
            )
            for _ in range(draw(st.integers(0, 4)))
        )
        images.append(AnnotatedImage(image_id, path, objects, size))
    images.sort(key=lambda image: image.id)
    everything = [image.id for image in images]
    names = draw(st.lists(st.sampled_from(["train", "val", "test", "train2017", "part_1"]), max_size=3, unique=True))
    splits = {name: tuple(sorted(draw(st.sets(st.sampled_from(everything), min_size=1)))) for name in sorted(names)}
    return AnnotatedSet(classes, tuple(images), splits)


def write(data: AnnotatedSet, folder: Path, to: str) -> Dataset:
    """Written as format ``to`` with copies of its images, and opened."""
    names = {image.id: f"{image.id}{image.path.suffix}" for image in data.images}
    folder.mkdir(parents=True)
    WRITERS[to](folder, data, names)
    for image in data.images:
        place = folder / IMAGE_FOLDERS[to] / names[image.id]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image.path.read_bytes())
    return open_dataset([folder])


def through(data: AnnotatedSet, folder: Path, *formats: str) -> AnnotatedSet:
    """``data`` written as each of the formats in turn, each made from the one before."""
    for step, to in enumerate(formats):
        opened = write(data, folder / f"{step}-{to}", to)
        assert opened.kind == to
        data = collect(opened)
    return data


def content(data: AnnotatedSet, keep: Callable[[LabelledBox], tuple[object, ...]]) -> dict[str, object]:
    """What is compared: ids, sizes, objects as ``keep`` sees them, splits, the set of classes."""
    return {
        "images": {image.id: (image.size, [keep(thing) for thing in image.objects or ()]) for image in data.images},
        "splits": dict(data.splits),
        "classes": set(data.classes),
    }


def write_coco_file(path: Path, images: list[dict], annotations: list[dict] | None, names: dict[int, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    body: dict = {"images": images, "categories": [{"id": number, "name": name} for number, name in names.items()]}
    if annotations is not None:
        body["annotations"] = [{"id": i, **row} for i, row in enumerate(annotations, start=1)]
    path.write_text(json.dumps(body))
    return path
