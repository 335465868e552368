"""The registry of formats: recognised by marks, two at once said, chosen by name."""

from __future__ import annotations

import shutil

import pytest

from sppcli.datasets import open_dataset
from sppcli.datasets.formats import FORMATS, NAMES
from sppcli.errors import BadInput, UsageProblem
from tests.datasets.annotated_sets import image_file


@pytest.fixture
def two_formats(make_voc):
    """A VOC folder with YOLO labels beside it, as conversion scripts leave it."""
    root = make_voc(2).root
    image_file(root / "images/b.jpg")
    (root / "labels").mkdir()
    (root / "labels/b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("names: [cat]\n")
    return root


def test_names_are_told_apart():
    assert len(set(NAMES)) == len(FORMATS)
    assert all(form.title and form.marks and ":" not in form.name for form in FORMATS)


def test_two_formats_in_one_folder_are_a_question(two_formats):
    with pytest.raises(UsageProblem, match=r"VOC \(JPEGImages.*and YOLO \(data.yaml\): choose with voc:.* or "):
        open_dataset([two_formats])
    assert [item.id for item in open_dataset([f"voc:{two_formats}"]).images] == ["000001", "000002"]
    assert open_dataset([f"yolo:{two_formats}"]).annotations("b").labels == ("cat",)


def test_the_choice_holds_for_the_command_line_and_for_later_stages(run, two_formats, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("convert", f"yolo:{two_formats}", "out", "--to", "csv")[0] == 0
    assert run("propose", f"yolo:{two_formats}", "-j", "1")[0] == 0
    code, out, err = run("evaluate", "--proposals", "--split", "all")
    assert (code, "1 object" in out) == (0, True), out + err
    code, _, err = run("convert", str(two_formats), "out2", "--to", "csv")
    assert code == 2
    assert f"yolo:{two_formats}" in err


def test_a_format_that_the_place_is_not(tmp_path):
    image_file(tmp_path / "a.jpg")
    with pytest.raises(BadInput, match=r"is not COCO: that is recognised by annotations/"):
        open_dataset([f"coco:{tmp_path}"])


def test_the_less_certain_format_is_mentioned(two_formats):
    (two_formats / "labels.csv").write_text("image,x0,y0,x1,y1,class\nb.jpg,1,1,9,9,dog\n")
    dataset = open_dataset([f"yolo:{two_formats}"])
    assert dataset.warnings == []
    shutil.rmtree(two_formats / "JPEGImages")
    shutil.rmtree(two_formats / "Annotations")
    dataset = open_dataset([two_formats])
    assert dataset.kind == "yolo"
    assert any(f"give csv:{two_formats} for that" in text for text in dataset.warnings)
