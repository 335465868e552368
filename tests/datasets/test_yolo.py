"""YOLO folders as people have them, and every complaint."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sppcli.datasets import open_dataset
from sppcli.datasets.base import Dataset
from sppcli.errors import BadInput, MissingInput
from tests.datasets.annotated_sets import image_file


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def splits(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {name: dataset.split(name) for name in dataset.split_names()}


def test_the_usual_layout(tmp_path: Path) -> None:
    for name in ("train/a.jpg", "train/b.png", "val/c.jpg"):
        image_file(tmp_path / "images" / name)
    text(tmp_path / "labels/train/a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.125 0.5 0.25\n")
    text(tmp_path / "labels/val/c.txt", "0 0.1 0.1 0.1 0.2 0.3 0.3 0.2 0.4\n")
    text(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog, eel]\n")
    for source in (tmp_path, tmp_path / "data.yaml"):
        dataset = open_dataset([source])
        assert dataset.kind == "yolo"
        assert splits(dataset) == {"train": ("train/a", "train/b"), "val": ("val/c",)}
        assert dataset.annotations("train/a").boxes.tolist() == [[24, 12, 40, 36], [0, 0, 32, 12]]
        assert dataset.annotations("train/a").labels == ("dog", "cat")
        assert len(dataset.annotations("train/b").labels) == 0
        # a polygon: its bounds, in float32
        assert dataset.annotations("val/c").boxes[0].tolist() == pytest.approx([6.4, 4.8, 19.2, 19.2])
        assert (dataset.classes, dataset.declared) == (("cat", "dog"), ("cat", "dog", "eel"))


def test_a_folder_a_split_with_its_paths_one_up(tmp_path: Path) -> None:
    for name in ("train/images/a.jpg", "valid/images/b.jpg"):
        image_file(tmp_path / name)
        text(tmp_path / Path(name.replace("images", "labels")).with_suffix(".txt"), "0 0.5 0.5 1 1\n")
    text(
        tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: {0: cat}\n"
    )
    dataset = open_dataset([tmp_path])
    assert splits(dataset) == {"train": ("train/images/a",), "val": ("valid/images/b",)}
    assert dataset.annotations("valid/images/b").boxes.tolist() == [[0, 0, 64, 48]]
    assert dataset.warnings == [f"{tmp_path / 'data.yaml'}: test is '../test/images', which is not there"]
    (tmp_path / "data.yaml").unlink()
    text(tmp_path / "classes.txt", "cat\n")
    assert splits(open_dataset([tmp_path])) == {"train": ("train/images/a",), "valid": ("valid/images/b",)}


@pytest.mark.parametrize("names", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_names_in_a_text_file_and_no_splits(tmp_path: Path, names: str) -> None:
    image_file(tmp_path / "images/a.jpg")
    text(tmp_path / "labels/a.txt", "1 0.5 0.5 1 1")
    text(tmp_path / names, "cat\ndog\n")
    dataset = open_dataset([tmp_path])
    assert (splits(dataset), dataset.annotations("a").labels) == ({}, ("dog",))


def test_labels_beside_the_images(tmp_path: Path) -> None:
    image_file(tmp_path / "a.jpg")
    text(tmp_path / "a.txt", "0 0.5 0.5 1 1")
    assert open_dataset([tmp_path]).kind == "folder"  # nothing says what 0 is
    text(tmp_path / "classes.txt", "cat\n")
    assert open_dataset([tmp_path]).annotations("a").labels == ("cat",)


def test_lists_of_images_and_images_elsewhere(tmp_path: Path) -> None:
    image_file(tmp_path / "data/images/a.jpg")
    image_file(tmp_path / "other/images/b.jpg")
    text(tmp_path / "other/labels/b.txt", "0 0.5 0.5 0.5 0.5")
    text(tmp_path / "data/labels/a.txt", "0 0.5 0.5 0.5 0.5")
    text(tmp_path / "data/data.yaml", "train: [train.txt, ../other/images]\nnames: [cat]\n")
    text(tmp_path / "data/train.txt", "./images/a.jpg\n./images/gone.jpg\n")
    dataset = open_dataset([tmp_path / "data"])
    assert splits(dataset) == {"train": ("data/images/a", "other/images/b")}
    assert dataset.annotations("other/images/b").labels == ("cat",)
    assert dataset.warnings == [
        f"{tmp_path / 'data/train.txt'} lists 1 images that are not there, the first: ./images/gone.jpg"
    ]


def test_shares_are_of_the_upright_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images/a.jpg", exif=exif)
    text(tmp_path / "labels/a.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "classes.txt", "cat")
    assert open_dataset([tmp_path]).annotations("a").boxes.tolist() == [[0, 0, 48, 64]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("0 0.5 0.5 1", "line 1: '0 0.5 0.5 1' is not a class number and cx cy w h"),
        ("\n0 0.5 0.5 1 x", "line 2: .* is not a class number"),
        ("0 0.5 0.5 1 nan", "line 1: .* is not a class number"),
        ("0 0.5 0.5 0.1 0.1 0.9", "line 1: .* is not a class number"),  # results with scores are no labels
        ("2 0.5 0.5 1 1", "line 1: there is no class 2 in .*classes.txt; it has 2"),
        ("0 32 24 64 48", "line 1: .* is not in shares of the image's width and height"),
    ],
)
def test_complaints_about_labels(tmp_path: Path, labels: str, message: str) -> None:
    image_file(tmp_path / "images/a.jpg")
    path = text(tmp_path / "labels/a.txt", labels)
    text(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(BadInput, match=message) as caught:
        open_dataset([tmp_path]).annotations("a")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat\n", "is not YAML"),
        ("names:\n", "neither a list of names nor numbers with names"),
        ("names: {a: cat}\n", "neither a list of names nor numbers with names"),
        ("names: [cat, cat]\n", "are not 2 different ones"),
    ],
)
def test_complaints_about_names(tmp_path: Path, content: str, message: str) -> None:
    image_file(tmp_path / "images/a.jpg")
    (tmp_path / "labels").mkdir()
    path = text(tmp_path / "data.yaml", content)
    with pytest.raises(BadInput, match=message) as caught:
        open_dataset([tmp_path])
    assert str(path) in str(caught.value)


def test_no_image_and_no_names(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    text(tmp_path / "data.yaml", "names: [cat]")
    with pytest.raises(MissingInput, match="holds no image"):
        open_dataset([tmp_path])
    text(tmp_path / "data.yaml", "classes: [cat]")
    with pytest.raises(BadInput, match="has no names"):
        open_dataset([tmp_path / "data.yaml"])
