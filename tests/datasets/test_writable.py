"""``spp convert`` writes names that the format's own reader reads back, or refuses and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sppcli.datasets import open_dataset
from sppcli.datasets.records import WRITERS, collect
from sppcli.errors import BadInput
from sppcli.stages.convert import ConvertConfig
from sppcli.stages.convert import run as convert
from tests.conftest import Run
from tests.datasets.annotated_sets import image_file, write_coco_file

MARKS = " \t\n\r\x01\x0b\x0c\x1c\x7f\x85\u2028\ufeff\ufffe,;:#'\"&<>[]{}~%?*\\$-01aé\u0301"
NAMES = st.text(st.sampled_from(MARKS), min_size=1, max_size=4).filter(lambda name: name.strip() and name[0] != "~")


def coco_set(folder: Path, image: str, label: str) -> Path:
    """One plain image and one called ``image``, objects of a plain class and of ``label``."""
    names = ["plain.png", f"{image}.png"]
    for name in names:
        image_file(folder / "train" / name)
    objects = [
        {"id": 2 * i + k, "image_id": i, "category_id": k, "bbox": [1, 2, 20, 20], "area": 400, "iscrowd": 0}
        for i in (1, 2)
        for k in (1, 2)
    ]
    rows = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names, 1)]
    write_coco_file(folder / "annotations" / "instances_train.json", rows, objects, {1: "cup", 2: label})
    return folder


def contents(folder: Path) -> dict[str, tuple[list[str], bool]]:
    """Name of each image's file -> classes of its objects, and whether it is in split train."""
    dataset = open_dataset([folder])
    train = dataset.split("train")
    return {
        image.path.name: (sorted(thing.label for thing in image.objects or ()), image.id in train)
        for image in collect(dataset).images
    }


@pytest.mark.parametrize("to", WRITERS)
@settings(max_examples=60, deadline=None)
@given(image=NAMES, label=NAMES)
@example("a ", "cat")
@example("a\rb", "cat")
@example("a", "c\x85t")
@example("a", " cat")
@example("\ufeffa", "cat")
@example("a b", "traffic light")
@example("a", "\x01")
def test_names_come_back_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, to: str, image: str, label: str
) -> None:
    folder = tmp_path_factory.mktemp("names")
    source = coco_set(folder / "source", image, label)
    there = contents(source)
    try:
        convert(source, folder / "made", ConvertConfig(to=to))  # type: ignore[arg-type]
    except BadInput:
        assert [path.name for path in folder.iterdir()] == ["source"]
        assert to != "coco"
        return
    assert contents(folder / "made") == there


@pytest.mark.parametrize("to", WRITERS)
def test_harmless_names_are_not_refused(tmp_path: Path, to: str) -> None:
    source = coco_set(tmp_path / "source", "a b, é #1", "traffic light: 'red'")
    convert(source, tmp_path / "made", ConvertConfig(to=to))  # type: ignore[arg-type]
    assert contents(tmp_path / "made") == contents(source)


def test_the_command_names_what_is_wrong_with_the_name(tmp_path: Path, run: Run) -> None:
    for image, label, to, message in (
        ("a ", "cat", "voc", "a .png' cannot be written as voc: its name begins or ends with a blank"),
        ("a\nb", "cat", "yolo", "its name has a control character in it; rename it, or convert --to coco"),
        ("a", "cat ", "csv", "the class 'cat ' cannot be written as csv: its name begins or ends with a blank"),
    ):
        source = coco_set(tmp_path / json.dumps([image, label]).replace("\\", ""), image, label)
        code, _, err = run("convert", str(source), str(tmp_path / "made"), "--to", to)
        assert code == 3
        assert message in err
        assert not (tmp_path / "made").exists()
