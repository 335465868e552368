"""Names of a data set never lead out of the output, and nothing outside the data set is copied into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sppcli.datasets import walking
from tests.conftest import Run, Voc
from tests.datasets.annotated_sets import image_file, write_coco_file

FORMATS = ("voc", "coco", "yolo", "csv")
SPLITS = ("../escaped", "a/../../escaped", "/{}/victim", "a/b", "..", "x" * 252, "a\0b", "a\ud83d")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "victim.txt").write_text("precious")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outside(here: Path) -> dict[str, str]:
    """Every file that is neither of a data set nor of the output."""
    own = (here / "set", here / "work" / "out")
    files = (path for path in here.rglob("*.txt") if not any(path.is_relative_to(folder) for folder in own))
    return {str(path.relative_to(here)): path.read_text() for path in files}


def refused(run: Run, here: Path, to: str, *more: str) -> str:
    code, out, err = run("convert", "set", "work/out", "--to", to, *more)
    assert (code, out) == (3, "")
    assert "Traceback" not in err
    assert list((here / "work").iterdir()) == []
    assert outside(here) == {"victim.txt": "precious"}
    return err


def csv_set(here: Path, label: str = "cat", split: str = "train") -> None:
    image_file(here / "set" / "images" / "a.png")
    rows = f'image,x0,y0,x1,y1,class,split\na.png,1,2,10,12,"{label}","{split}"\n'
    (here / "set" / "annotations.csv").write_bytes(rows.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("to", ["voc", "coco", "yolo"])
@pytest.mark.parametrize("split", SPLITS)
def test_a_split_of_a_table_that_is_a_path(here: Path, run: Run, to: str, split: str) -> None:
    csv_set(here, split=split.format(here))
    refused(run, here, to)


@pytest.mark.parametrize("to", ["voc", "coco", "yolo"])
@pytest.mark.parametrize("key", ["../escaped", "{}/victim"])
def test_a_key_of_a_yaml_that_is_a_path(here: Path, run: Run, to: str, key: str) -> None:
    image_file(here / "set" / "images" / "a.png")
    (here / "set" / "labels").mkdir()
    (here / "set" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    (here / "set" / "data.yaml").write_text(f"names: [cat]\n{key.format(here)}: images\n")
    err = refused(run, here, to)
    assert "slash in it" in err or "path from the root" in err or "another folder" in err


@pytest.mark.parametrize("label", ["../../../../escaped", "/{}/victim", "a/b", "x" * 246])
def test_a_class_that_is_a_path(here: Path, run: Run, label: str) -> None:
    csv_set(here, label=label.format(here))
    assert "cannot be written as voc" in refused(run, here, "voc")
    code, _, err = run("convert", "set", "work/out", "--to", "csv")
    assert code == 0, err
    assert outside(here) == {"victim.txt": "precious"}


def test_two_lists_that_would_be_one_file(here: Path, run: Run) -> None:
    for name in ("a.png", "b.png"):
        image_file(here / "set" / "images" / name)
    rows = "a.png,1,2,10,12,cat,big_train\nb.png,1,2,10,12,cat_big,train\n"
    (here / "set" / "annotations.csv").write_text("image,x0,y0,x1,y1,class,split\n" + rows)
    assert "would be one file" in refused(run, here, "voc")


def test_a_format_that_holds_the_name_is_advised_and_no_other(here: Path, run: Run) -> None:
    csv_set(here, split="a/b")
    assert "--to coco" not in refused(run, here, "voc")
    csv_set(here, label="a\x01b")
    assert "or convert --to coco" in refused(run, here, "voc")


@pytest.mark.parametrize("to", FORMATS)
def test_a_link_out_of_the_data_set_is_not_copied(here: Path, run: Run, to: str) -> None:
    secret = here / "secret.png"
    secret.write_bytes(b"a private key")
    image_file(here / "set" / "val" / "a.png")
    (here / "set" / "val" / "b.png").symlink_to(secret)
    rows = [{"id": i, "file_name": f"{name}.png", "width": 64, "height": 48} for i, name in enumerate("ab", 1)]
    thing = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 12]}
    write_coco_file(here / "set" / "annotations" / "instances_val.json", rows, [thing], {1: "cat"})
    err = refused(run, here, to, "--copy")
    assert f"set/val/b.png is a link to {secret}, outside the data set" in err
    code, _, err = run("convert", "set", "work/out", "--to", to, "--link")
    assert code == 0, err


def test_links_within_the_data_set_are_copied(here: Path, run: Run) -> None:
    csv_set(here)
    image_file(here / "set" / "store" / "1.png")
    (here / "set" / "images" / "a.png").unlink()
    (here / "set" / "images" / "a.png").symlink_to("../store/1.png")
    code, _, err = run("convert", "set", "work/out", "--to", "csv")
    assert code == 0, err
    assert not (here / "work" / "out" / "images" / "a.png").is_symlink()


def test_a_file_elsewhere_that_is_no_image_is_not_copied(here: Path, run: Run) -> None:
    """A list of YOLO's may name images anywhere."""
    (here / "key.png").write_text("a private key")
    image_file(here / "set" / "images" / "a.png")
    (here / "set" / "labels").mkdir()
    (here / "set" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    (here / "set" / "train.txt").write_text(f"images/a.png\n{here / 'key.png'}\n")
    (here / "set" / "data.yaml").write_text("names: [cat]\ntrain: train.txt\n")
    code, _, err = run("convert", "set", "work/out", "--to", "csv")
    assert list((here / "work").rglob("key*")) == []
    assert "Traceback" not in err
    assert code in (0, 3)


def test_the_whole_file_system_is_no_data_set(here: Path, run: Run) -> None:
    """Neither by its name, nor by a key of a .yaml (where "\\" is a slash), nor behind a link."""
    image_file(here / "set" / "images" / "a.png")
    for arguments in (("check", "/"), ("propose", "/", "-o", "p.h5"), ("convert", "/", "out", "--to", "coco")):
        code, _, err = run(*arguments)
        assert code == 3, err
        assert "not all of the file system is looked into" in err
    (here / "set" / "labels").mkdir()
    (here / "set" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    for value in ("/", "'\\'", "//", "/.."):
        (here / "set" / "data.yaml").write_text(f"names: [cat]\nval: {value}\n")
        assert "not all of the file system is looked into" in refused(run, here, "voc")
    (here / "set" / "data.yaml").unlink()
    (here / "set" / "images" / "all").symlink_to("/")
    assert "set/images/all leads; name the images' folder" in " ".join(refused(run, here, "voc").split())


def test_folders_without_end(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    image_file(here / "set" / "a.png")
    for number in range(12):
        (here / "set" / str(number)).mkdir()
    assert run("check", "set")[0] == 0
    monkeypatch.setattr(walking, "MOST_FOLDERS", 12)
    assert "set: has more than 12 folders in it; name the images' folder" in refused(run, here, "voc")


def test_show_writes_into_its_folder_only(voc: Voc, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "coco"
    names = {1: "../../escaped.png", 2: "a.png", 3: f"{'x' * 240}.png"}
    for name in names.values():
        image_file(folder / "images" / "val" / name)
    rows = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in names.items()]
    things = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 10, 12]} for i in names]
    write_coco_file(folder / "annotations" / "instances_val.json", rows, things, {1: "cat"})
    code, out, err = run("show", str(folder), "-o", "pictures/", "--json")
    assert code == 0, err
    written = [Path(name) for name in json.loads(out)["files"]]
    assert written
    assert all(path.resolve().parent == tmp_path / "pictures" for path in written)
