"""Every annotation tool's export, written by hand, through the command line."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from sppcli.datasets import open_dataset
from sppcli.datasets.format import Place
from sppcli.datasets.formats import FORMATS, recognised
from sppcli.errors import MissingInput
from tests.conftest import Run
from tests.datasets.annotated_sets import image_file
from tests.datasets.exports import LAYOUTS, Layout

each = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def rows_by_image(path: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["image"].rsplit(".", 1)[0], []).append(row)
    return found


@each
def test_convert_writes_what_the_export_holds(layout: Layout, tmp_path: Path, run: Run) -> None:
    root = layout.write(tmp_path / "data")
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 0, err
    found = rows_by_image(tmp_path / "out/annotations.csv")
    assert found.keys() == layout.objects.keys()
    members: dict[str, set[str]] = {}
    for image, rows in found.items():
        for split in rows[0]["split"].split():
            members.setdefault(split, set()).add(image)
        drawn = [row for row in rows if row["class"]]
        wanted = layout.objects[image] or []
        assert [row["class"] for row in drawn] == [label for label, _ in wanted]
        for position, (row, (_, box)) in enumerate(zip(drawn, wanted, strict=True)):
            assert [float(row[corner]) for corner in ("x0", "y0", "x1", "y1")] == pytest.approx(box)
            for flag in ("difficult", "truncated", "crowd"):
                assert bool(int(row[flag])) == ((image, position, flag) in layout.flags), (image, position, flag)
    assert members == {split: set(ids) for split, ids in layout.splits.items()}
    for text in layout.says:
        assert re.search(text, " ".join(err.split())), (text, err)


@each
def test_each_is_recognised_by_its_own_marks_alone(layout: Layout, tmp_path: Path, run: Run) -> None:
    root = layout.write(tmp_path / "data")
    dataset = open_dataset([root])
    assert dataset.kind == layout.kind
    assert not [text for text in dataset.warnings if "is read as" in text]
    assert {item.id for item in dataset.images} == layout.objects.keys()
    assert open_dataset([f"{layout.kind}:{root}"]).classes == dataset.classes
    code, out, err = run("propose", str(root), "--dry-run", "-o", str(tmp_path / "p.h5"))
    assert code == 0, err
    assert f"would search {len(layout.objects)} of {len(layout.objects)} images" in out + err
    objects = sum(len(things or ()) for things in layout.objects.values())
    without = sum(things is None for things in layout.objects.values())
    (title,) = (form.title for form in FORMATS if form.name == layout.kind)
    line = next(line for line in (out + err).split("\n") if line.startswith(f"propose: {title}"))
    assert f"{title}, {len(layout.objects)} image" in line
    assert f" {objects} object{'' if objects == 1 else 's'} of {len(dataset.classes)} class" in line
    assert (f"{without} without annotation" in line) == bool(without)
    for split, ids in layout.splits.items():
        assert f"{split} {len(ids)}" in line


@each
def test_one_file_of_an_export_can_be_given(layout: Layout, tmp_path: Path) -> None:
    root = layout.write(tmp_path / "data")
    for item in open_dataset([root]).images:
        flat = root / item.path.name
        if not flat.exists():
            flat.write_bytes(item.path.read_bytes())
    name = next(iter(layout.files))
    if (root / name).parent == root:
        dataset = open_dataset([root / name])
        assert dataset.kind == layout.kind
        assert dataset.has_annotations
        assert dataset.classes


def test_images_are_found_wherever_they_lie(tmp_path: Path) -> None:
    names = ["C:\\Users\\me\\pictures\\a.jpg", "/home/other/b%20c.jpg", "cafe\u0301.jpg", "two/d.jpg"]
    text = "".join(f"{name},1,2,3,4,cat\n" for name in [*names, "gone.jpg", "twice.jpg"])
    places = ["deep/er/a.jpg", "x/b c.jpg", "caf\xe9.jpg", "one/d.jpg", "two/d.jpg", "p/twice.jpg", "q/twice.jpg"]
    for name in places:
        image_file(tmp_path / name)
    (tmp_path / "all.csv").write_text(text, encoding="utf-8")
    dataset = open_dataset([tmp_path])
    annotated = {item.id for item in dataset.images if dataset.record(item.id).objects}
    assert annotated == {"deep/er/a", "x/b c", "caf\xe9", "two/d"}
    assert any("'gone.jpg', which is not there" in text for text in dataset.warnings)
    assert any("'twice.jpg', which is there more than once" in text for text in dataset.warnings)


def test_annotations_and_images_in_folders_that_answer_each_other(tmp_path: Path) -> None:
    (content,) = (content for name, content in LAYOUTS["labelme"].files.items() if name == "deep/b.json")
    for split in ("train", "val"):
        image_file(tmp_path / "images" / split / "b.jpg")
        path = tmp_path / "annotations" / split / "b.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    dataset = open_dataset([tmp_path])
    assert (dataset.split("train"), dataset.split("val")) == (("train/b",), ("val/b",))
    assert dataset.warnings == ["read as the upright boxes around them: 2 polygons"]


def test_no_image_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("a.jpg,1,2,3,4,cat\nb.jpg,,,,,\n")
    with pytest.raises(MissingInput, match=r"none of its 2 images is there, 'a.jpg' for one"):
        open_dataset([tmp_path / "all.csv"])
    image_file(tmp_path / "p/a.jpg")
    image_file(tmp_path / "q/a.jpg")
    with pytest.raises(MissingInput, match=r"image 'a.jpg' is in several folders"):
        open_dataset([tmp_path])


def test_files_of_one_image_each_are_not_parsed_to_be_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A labelme file holds its whole image as text: thousands are not read to see that they are not COCO's."""
    root = LAYOUTS["labelme"].write(tmp_path / "data")
    asked: list[Path] = []
    monkeypatch.setattr(Place, "json", lambda _, path: asked.append(path))
    assert [form.name for form, _ in recognised(Place(root))] == ["labelme"]
    assert asked == []


def test_a_video_without_its_frames_is_refused(tmp_path: Path, run: Run) -> None:
    layout = LAYOUTS["cvat-video"]
    root = layout.write(tmp_path / "data")
    shutil.rmtree(root / "images")
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    said = " ".join(err.split())
    assert "none of its 3 images is there, 'frame_000000' for one" in said
    assert "a video is read from its frames: export it from CVAT with its images" in said
