"""Layouts that people have, through the command line: what spp propose finds first, and splits of every stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sppcli.datasets import open_dataset
from sppcli.datasets.roles import division, role_of
from sppcli.errors import MissingInput
from tests.conftest import Run

SIZE = (64, 48)


def picture(path: Path, seed: int = 0) -> Path:
    """An image unlike others of another seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def voc_xml(name: str = "a.png", label: str = "cup") -> str:
    return (
        f"<annotation><folder>x</folder><filename>{name}</filename><size><width>64</width><height>48</height></size>"
        f"<object><name>{label}</name><bndbox><xmin>11</xmin><ymin>11</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
        "</object></annotation>"
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def coco(names: list[str], label: str = "cup") -> str:
    return json.dumps(
        {
            "images": [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": [10, 10, 20, 30], "area": 600, "iscrowd": 0}
                for i in range(len(names))
            ],
            "categories": [{"id": 1, "name": label}],
        }
    )


# Each layout: image -> annotation file and what it says, of two images; and the line that propose begins with.
ROBOFLOW = "train 1, valid 1"
LAYOUTS = {
    "XML beside the images": (("a.png", "b.png"), ("a.xml", "b.xml"), "divided by content"),
    "XML in split folders": (("train/a.png", "valid/a.png"), ("train/a.xml", "valid/a.xml"), ROBOFLOW),
    "images and annotations": (("images/a.png", "images/b.png"), ("annotations/a.xml", "annotations/b.xml"), "divided"),
    "splits below both": (
        ("images/train/a.png", "images/valid/a.png"),
        ("labels_xml/train/a.xml", "labels_xml/valid/a.xml"),
        ROBOFLOW,
    ),
    "splits above both": (
        ("train/images/a.png", "valid/images/a.png"),
        ("train/annotations/a.xml", "valid/annotations/a.xml"),
        ROBOFLOW,
    ),
    "another letter case": (("pics/A.PNG", "pics/b.png"), ("xml/a.xml", "xml/B.xml"), "divided by content"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vocs_xml_in_any_layout(tmp_path: Path, run: Run, layout: str) -> None:
    images, files, splits = LAYOUTS[layout]
    for seed, name in enumerate(images):
        picture(tmp_path / "data" / name, seed)
    for name in files:
        write(tmp_path / "data" / name, voc_xml())
    code, _, err = run("propose", str(tmp_path / "data"), "--dry-run")
    assert code == 0
    assert err.startswith("propose: VOC, 2 images, 2 objects of 1 class (cup 2), ")
    assert splits in err
    dataset = open_dataset([tmp_path / "data"])
    assert all(dataset.annotations(item.id).boxes.tolist() == [[10, 10, 30, 40]] for item in dataset.images)
    assert dataset.warnings == []


def test_xml_without_image_and_alike_to_two_are_named(tmp_path: Path, run: Run) -> None:
    for seed, name in enumerate(("one/a.png", "two/a.png", "one/b.png")):
        picture(tmp_path / name, seed)
    for name in ("xml/a.xml", "xml/b.xml", "xml/gone.xml"):
        write(tmp_path / name, voc_xml("gone.png"))
    code, _, err = run("convert", str(tmp_path), str(tmp_path.with_name("out")), "--to", "csv")
    assert code == 0
    assert "1 annotation has no image and was left out: xml/gone.xml" in err
    assert "1 annotation fits several images alike and was left out: xml/a.xml" in err


@pytest.mark.parametrize(
    ("place", "name", "own"),
    [
        ("_annotations.coco.json", "a.png", "divided by content"),
        ("result.json", "images/a.png", "divided by content"),
        ("annotations.json", "images/a.png", "divided by content"),
        ("train/labels.json", "train/a.png", "train 1"),
        ("train.json", "images/a.png", "train 1"),
        ("annotations/instances_default.json", "images/a.png", "default 1, divided by content"),
    ],
)
def test_coco_of_any_name(tmp_path: Path, run: Run, place: str, name: str, own: str) -> None:
    picture(tmp_path / "set" / name)
    write(tmp_path / "set" / place, coco(["a.png"]))
    code, _, err = run("propose", str(tmp_path / "set"), "--dry-run")
    assert code == 0
    assert f"COCO, 1 image, 1 object of 1 class (cup 1), {own}" in err


def test_plain_images_and_what_lies_beside_them(tmp_path: Path, run: Run) -> None:
    for i in range(12):
        picture(tmp_path / f"{i}.png", i)
        write(tmp_path / f"{i}.xml", "<html/>")
    write(tmp_path / "notes.txt", "nothing")
    code, _, err = run("propose", str(tmp_path), "--dry-run")
    assert code == 0
    assert "propose: 12 images, no annotations\n" in err
    assert "12 XML files lie beside the images" in err
    assert "and 2 more" in err
    assert "text file" not in err


def test_labels_without_class_names_are_mentioned(tmp_path: Path, run: Run) -> None:
    picture(tmp_path / "images/a.png")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .5 .5")
    _, _, err = run("propose", str(tmp_path), "--dry-run")
    assert "1 text file lies beside the images under their names: YOLO's labels need class names" in err


# --- splits


def voc_folders(root: Path, *splits: str) -> Path:
    for seed, split in enumerate(splits):
        picture(root / split / "a.png", seed)
        write(root / split / "a.xml", voc_xml())
    return root


def test_other_names_of_splits(tmp_path: Path) -> None:
    dataset = open_dataset([voc_folders(tmp_path, "train", "valid", "test")])
    assert dataset.split("val") == dataset.split("validation") == dataset.split("valid") == ("valid/a",)
    assert dataset.split("trainval") == ("train/a", "valid/a")
    assert dataset.split("test") == ("test/a",)
    assert dataset.warnings == []


def test_one_folder_called_train(tmp_path: Path) -> None:
    dataset = open_dataset([voc_folders(tmp_path, "train")])
    assert dataset.split("trainval") == dataset.split("train") == ("train/a",)
    with pytest.raises(MissingInput, match="has no split 'val'"):
        dataset.split("val")
    assert dataset.split("test") == ("train/a",)
    assert "has no split test: train is taken for it, images that were learnt" in dataset.warnings[0]


def test_val_for_a_missing_test_is_said(tmp_path: Path) -> None:
    dataset = open_dataset([voc_folders(tmp_path, "train2017", "val2017")])
    assert dataset.split("trainval") == ("train2017/a", "val2017/a")
    assert dataset.split("test") == ("val2017/a",)
    assert "train with --split train" in dataset.warnings[0]


def test_words_for_roles() -> None:
    for name, role in {
        "train": "train",
        "Training": "train",
        "train2017": "train",
        "instances_val": "val",
        "valid": "val",
        "test_labels": "test",
        "trainval": "trainval",
        "default": None,
        "train_test": None,
        "latest": None,
    }.items():
        assert role_of(name) == role, name


def many(root: Path, seeds: range) -> Path:
    for seed in seeds:
        picture(root / f"{seed:03d}.png", seed)
        write(root / f"{seed:03d}.xml", voc_xml())
    return root


def test_a_data_set_without_lists_is_divided_by_content(tmp_path: Path) -> None:
    names = ("train", "val", "test")
    before = open_dataset([many(tmp_path / "set", range(60))])
    members = {name: set(before.split(name)) for name in names}
    assert sum(map(len, members.values())) == 60
    assert set().union(*members.values()) == set(before.split("all"))
    assert set(before.split("trainval")) == members["train"] | members["val"]
    # Added images move no other; a copy under another name falls on the same side.
    many(tmp_path / "set", range(60, 80))
    for image_id in sorted(before.split("all"))[:20]:
        copy = tmp_path / "set" / f"copy-{image_id}.png"
        copy.write_bytes((tmp_path / "set" / f"{image_id}.png").read_bytes())
        write(copy.with_suffix(".xml"), voc_xml())
    after = open_dataset([tmp_path / "set"])
    for name in names:
        now = set(after.split(name))
        assert members[name] <= now
        copies = {image_id.removeprefix("copy-") for image_id in now if image_id.startswith("copy-")}
        assert copies <= members[name]
    after.split_seed = 7
    assert set(after.split("test")) != set(before.split("test"))


def test_the_shares_of_a_division() -> None:
    parts = [division(f"{i:064x}", 0) for i in range(20_000)]
    shares = [parts.count(name) / len(parts) for name in ("train", "val", "test")]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.01)


def test_plain_images_are_not_divided(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(MissingInput, match="has no split 'test'"):
        open_dataset([tmp_path]).split("test")


def test_the_seed_of_the_division_is_recorded_and_used(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    many(tmp_path / "set", range(20))
    counts = []
    for seed in ("0", "5"):
        assert run("propose", "set", "-j", "1", "--max-side", "32", "--split-seed", seed)[0] == 0
        code, out, err = run("evaluate", "--proposals", "--split", "test")
        assert code == 0, err
        counts.append(out)
        opened = open_dataset(["set"])
        opened.split_seed = int(seed)
        assert f"{len(opened.split('test'))} images" in out + err
    assert counts[0] != counts[1]


@pytest.mark.parametrize(("policy", "objects"), [("skip", None), ("empty", [])])
def test_images_without_annotation_count_as_stated(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, policy: str, objects: list | None
) -> None:
    monkeypatch.chdir(tmp_path)
    voc_folders(tmp_path / "set", "train", "test")
    picture(tmp_path / "set/test/bare.png", 9)
    assert run("propose", "set", "-j", "1", "--unlabelled", policy)[0] == 0
    code, out, err = run("evaluate", "--proposals", "--split", "test")
    assert code == 0
    assert ("1 image has no annotation and is left out" in err) == (objects is None)
    assert ("2 images" in out + err) == (objects is not None)
