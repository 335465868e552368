"""``spp check``: each fault that is planted in a data set is found, and nothing else is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sppcli.datasets.check import KINDS
from tests.conftest import Run, Voc

EXTRA = ("disc", (3, 3, 60, 60))


class Planted:
    """A sound data set of 24 images in one format, and ways to break it. Boxes are 0-based, half-open."""

    def __init__(self, voc: Voc, root: Path, form: str) -> None:
        self.voc, self.root, self.form = voc, root, form
        self.train, self.test = voc.splits["train"], voc.splits["test"]

    def image(self, image_id: str) -> Path:
        return self.root / ("JPEGImages" if self.form == "voc" else "images") / f"{image_id}.jpg"

    def label(self, image_id: str) -> Path:
        folder, ending = ("Annotations", "xml") if self.form == "voc" else ("labels", "txt")
        return self.root / folder / f"{image_id}.{ending}"

    def coco(self, change: Callable[[dict, dict[str, int]], None]) -> None:
        """``change(content, file name -> image id)`` of every file that lists images."""
        for path in (self.root / "annotations").glob("*.json"):
            content = json.loads(path.read_text())
            change(content, {Path(row["file_name"]).stem: row["id"] for row in content["images"]})
            path.write_text(json.dumps(content))

    def add(self, image_id: str, label: str, box: tuple[float, float, float, float]) -> None:
        """One more object."""
        x0, y0, x1, y1 = box
        if self.form == "voc":
            corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            thing = f"<object><name>{label}</name><bndbox>{corners}</bndbox></object>"
            text = self.label(image_id).read_text()
            self.label(image_id).write_text(text.replace("</annotation>", f"{thing}</annotation>"))
        elif self.form == "yolo":
            names = re.findall(r"^  \d+: (.*)$", (self.root / "data.yaml").read_text(), re.MULTILINE)
            if label not in names:
                with (self.root / "data.yaml").open("a") as stream:
                    stream.write(f"  {len(names)}: {label}\n")
                names.append(label)
            shares = ((x0 + x1) / 256, (y0 + y1) / 192, (x1 - x0) / 128, (y1 - y0) / 96)
            with self.label(image_id).open("a") as stream:
                stream.write(f"{names.index(label)} {' '.join(f'{share:.12f}' for share in shares)}\n")
        else:

            def change(content: dict, ids: dict[str, int]) -> None:
                rows = content["categories"]
                if label not in [row["name"] for row in rows]:
                    rows.append({"id": len(rows) + 1, "name": label})
                number = next(row["id"] for row in rows if row["name"] == label)
                if image_id in ids:
                    thing = {"id": 10**6 + len(content["annotations"]), "image_id": ids[image_id]}
                    thing |= {"category_id": number, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
                    content["annotations"].append(thing)

            self.coco(change)

    def first(self, image_id: str) -> tuple[str, tuple[int, int, int, int]]:
        thing = self.voc.things[image_id][0]
        return thing.label, thing.box

    def same(self, image_id: str, other: str) -> None:
        """``image_id`` shows what ``other`` shows, with the same objects."""
        shutil.copyfile(self.image(other), self.image(image_id))
        if self.form == "coco":

            def change(content: dict, ids: dict[str, int]) -> None:
                if image_id in ids:
                    rows = [row for row in content["annotations"] if row["image_id"] != ids[image_id]]
                    content["annotations"] = rows

            self.coco(change)
        else:
            shutil.copyfile(self.label(other), self.label(image_id))

    def restate(self, image_id: str) -> None:
        """The stated width is another."""
        if self.form == "voc":
            text = self.label(image_id).read_text()
            self.label(image_id).write_text(text.replace("<width>128<", "<width>130<"))
        else:

            def change(content: dict, ids: dict[str, int]) -> None:
                for row in content["images"]:
                    if row["id"] == ids.get(image_id):
                        row["width"] = 130

            self.coco(change)


@pytest.fixture
def planted(make_voc: Callable[..., Voc], tmp_path: Path, run: Run) -> Callable[[str], Planted]:
    def make(form: str) -> Planted:
        voc = make_voc(44, per_image=4)
        root = voc.root
        if form != "voc":
            root = tmp_path / form
            assert run("convert", str(voc.root), str(root), "--to", form, "-q")[0] == 0
        return Planted(voc, root, form)

    return make


def outside(at: Planted) -> None:
    at.add(at.train[0], "disc", (140, 10, 170, 40))


def across_the_edge(at: Planted) -> None:
    at.add(at.train[0], "disc", (100, 10, 140, 90))


def without_extent(at: Planted) -> None:
    at.add(at.train[0], "disc", (10, 10, 10, 40))


def swapped(at: Planted) -> None:
    at.add(at.train[0], "disc", (60, 50, 10, 20))


def twice(at: Planted) -> None:
    at.add(at.train[0], *at.first(at.train[0]))


def nearly_twice(at: Planted) -> None:
    label, (x0, y0, x1, y1) = at.first(at.train[0])
    at.add(at.train[0], label, (x0, y0, x1 - 1, y1))


def two_classes(at: Planted) -> None:
    label, box = at.first(at.train[0])
    at.add(at.train[0], "disc" if label != "disc" else "square", box)


def other_case(at: Planted) -> None:
    for image_id in at.voc.ids:
        at.add(image_id, "Disc", (2, 2, 126, 94))


def other_blanks(at: Planted) -> None:
    for image_id in at.voc.ids:
        at.add(image_id, "dis_c", (2, 2, 126, 94))


def leak(at: Planted) -> None:
    at.same(at.test[0], at.train[0])


def same_pixels_in_another_file(at: Planted) -> None:
    at.same(at.test[0], at.train[0])
    # Other bytes, the same pixels.
    data = at.image(at.test[0]).read_bytes()
    at.image(at.test[0]).write_bytes(data[:2] + b"\xff\xfe\x00\x06note" + data[2:])


def repeated(at: Planted) -> None:
    at.same(at.train[1], at.train[0])


def cut_off(at: Planted) -> None:
    path = at.image(at.train[0])
    path.write_bytes(path.read_bytes()[:-400])


def no_image(at: Planted) -> None:
    path = at.image(at.train[0])
    path.write_bytes(b"<html>404</html>")


def gone(at: Planted) -> None:
    at.image(at.train[0]).unlink()


def orphan(at: Planted) -> None:
    shutil.copyfile(at.label(at.train[0]), at.label("stranger"))


def tiny(at: Planted) -> None:
    at.add(at.train[0], "disc", (1, 1, 7, 7))


def rare(at: Planted) -> None:
    for ids, count in ((at.train, 3), (at.voc.splits["val"], 2), (at.test, 2)):
        for image_id in ids[:count]:
            at.add(image_id, "star", (2, 2, 126, 94))


def only_in_test(at: Planted) -> None:
    for image_id in (*at.test, *at.voc.splits["val"]):
        at.add(image_id, "star", (2, 2, 126, 94))


def other_size(at: Planted) -> None:
    at.restate(at.train[0])


def in_both_lists(at: Planted) -> None:
    lists = at.root / "ImageSets/Main" if at.form == "voc" else at.root
    line = f"{at.train[0]}\n" if at.form == "voc" else f"./images/{at.train[0]}.jpg\n"
    with (lists / "test.txt").open("a") as stream:
        stream.write(line)


def broken_label(at: Planted) -> None:
    at.label(at.train[0]).write_text("<annotation><object>" if at.form == "voc" else "0 0.5 0.5\n")


def no_label(at: Planted) -> None:
    at.label(at.train[0]).unlink()


ALL = ("voc", "coco", "yolo")
FAULTS = [
    (outside, "outside-image", ALL),
    (across_the_edge, "reaches-outside", ALL),
    (without_extent, "no-extent", ALL),
    # COCO's reader refuses a negative width at once.
    (swapped, "swapped-corners", ("voc", "yolo")),
    (twice, "duplicate-box", ALL),
    (nearly_twice, "near-duplicate-box", ALL),
    (two_classes, "two-classes", ALL),
    (other_case, "similar-classes", ALL),
    (other_blanks, "similar-classes", ALL),
    (leak, "identical-across-splits", ALL),
    (same_pixels_in_another_file, "identical-across-splits", ALL),
    (repeated, "identical-images", ALL),
    (cut_off, "unreadable-image", ALL),
    (no_image, "unreadable-image", ALL),
    (gone, "missing-image", ALL),
    (orphan, "label-without-image", ("voc",)),
    (tiny, "too-small", ALL),
    (rare, "few-examples", ALL),
    (only_in_test, "absent-class", ALL),
    # A YOLO file states no size.
    (other_size, "size-differs", ("voc", "coco")),
    (in_both_lists, "in-two-splits", ("voc", "yolo")),
    # A COCO file is read as a whole.
    (broken_label, "unreadable-annotation", ("voc", "yolo")),
    # Elsewhere an image without annotation is one without objects.
    (no_label, "not-annotated", ("voc",)),
]


def check(run: Run, root: Path, *options: str) -> dict:
    code, out, err = run("check", str(root), "--json", "-j", "1", "-q", *options)
    assert code == 0, err
    found: dict = json.loads(out)
    return found


@pytest.mark.parametrize("form", ALL)
def test_nothing_is_wrong_with_a_sound_set(planted: Callable[[str], Planted], run: Run, form: str) -> None:
    at = planted(form)
    found = check(run, at.root)
    assert found["wrong"] == {}, found["findings"]
    assert (found["format"], found["images"], found["annotated"]) == (form, 44, 44)
    things = [thing for image_id in at.voc.ids for thing in at.voc.things[image_id]]
    assert found["objects"] == len(things)
    for name, count in found["classes"].items():
        assert count["objects"] == sum(thing.label == name for thing in things)
        for split, ids in at.voc.splits.items():
            expected = sum(thing.label == name for image_id in ids for thing in at.voc.things[image_id])
            assert count["splits"][split] == expected
    assert run("check", str(at.root), "--strict", "-j", "1", "-q")[0] == 0


@pytest.mark.parametrize(
    ("plant", "kind", "form"),
    [pytest.param(plant, kind, form, id=f"{plant.__name__}-{form}") for plant, kind, forms in FAULTS for form in forms],
)
def test_a_planted_fault_is_found(
    planted: Callable[[str], Planted], run: Run, plant: Callable[[Planted], None], kind: str, form: str
) -> None:
    at = planted(form)
    plant(at)
    found = check(run, at.root)
    assert set(found["wrong"]) == {kind}, found["findings"]
    code, out, err = run("check", str(at.root), "--strict", "-j", "1", "-q")
    assert code == 3
    assert f"{kind} ({found['wrong'][kind]}): {KINDS[kind].split()[0]}" in out
    assert f"something wrong ({found['wrong'][kind]} times" in err
    assert run("check", str(at.root), "-j", "1", "-q")[0] == 0


def test_every_kind_is_planted() -> None:
    assert {kind for _, kind, _ in FAULTS} == set(KINDS) - {"dataset"}


def test_the_report_names_where_each_fault_is(planted: Callable[[str], Planted], run: Run) -> None:
    at = planted("voc")
    for number in range(5):
        at.add(at.train[number], "disc", (140, 10, 170, 40))
    tiny(at)
    (outer,) = [row for row in check(run, at.root)["findings"] if row["image"] == at.train[4]]
    assert outer["text"] == "object 5 (disc), box 140 10 170 40, in 128 x 96"
    assert outer["file"] == str(at.image(at.train[4]))
    out = run("check", str(at.root), "-j", "1", "-q")[1]
    assert out.count("box 140 10 170 40") == 3
    assert "… 2 more" in out
    assert "36 square pixels" in out
    assert "at least 100: IoU at best 0.36" in " ".join(out.split())
    verbose = run("check", str(at.root), "-j", "1", "-v")[1]
    assert verbose.count("box 140 10 170 40") == 5
    assert max(map(len, verbose.splitlines()[1:])) <= 80
    assert "\x1b" not in verbose


def test_too_small_depends_on_the_size_that_is_searched(planted: Callable[[str], Planted], run: Run) -> None:
    """Images of 128 pixels searched at 64: a quarter of the area is left, so 16 x 16 pixels become 64."""
    at = planted("coco")
    at.add(at.train[0], "disc", (1, 1, 17, 17))
    assert check(run, at.root)["wrong"] == {}
    found = check(run, at.root, "--max-side", "64")
    (mine,) = [row for row in found["findings"] if "box 1 1 17 17" in row["text"]]
    assert "64 square pixels at 64 pixels" in mine["text"]
    assert mine["kind"] == "too-small"


def test_quick_reads_no_pixels(planted: Callable[[str], Planted], run: Run) -> None:
    at = planted("voc")
    cut_off(at)
    assert check(run, at.root)["wrong"] == {"unreadable-image": 1}
    assert check(run, at.root, "--quick")["wrong"] == {}
    same_pixels_in_another_file(at)
    other_size(at)
    assert check(run, at.root, "--quick")["wrong"] == {"size-differs": 1}
    leak(at)
    assert check(run, at.root, "--quick")["wrong"] == {"size-differs": 2, "identical-across-splits": 1}
    no_image(at)
    assert check(run, at.root, "--quick")["wrong"] == {"unreadable-image": 1, "size-differs": 1}


def test_processes_change_nothing(planted: Callable[[str], Planted], run: Run) -> None:
    at = planted("voc")
    for plant in (cut_off, repeated, leak, tiny):
        plant(at)
    one = run("check", str(at.root), "-q", "-j", "1")[1]
    assert run("check", str(at.root), "-q", "-j", "3")[1] == one


def test_few_is_what_the_user_says(planted: Callable[[str], Planted], run: Run) -> None:
    at = planted("voc")
    rare(at)
    (finding,) = check(run, at.root)["findings"]
    assert finding["text"] == "star has 5 in trainval, less than 10"
    assert check(run, at.root, "--min-examples", "5")["wrong"] == {}


def test_difficult_objects_are_no_examples(make_voc: Callable[..., Voc], run: Run) -> None:
    voc = make_voc(12, difficult_every=1)
    found = check(run, voc.root)
    assert set(found["wrong"]) == {"absent-class"}
    assert all("that is not difficult" in row["text"] for row in found["findings"])
    assert all(count["difficult"] == count["objects"] for count in found["classes"].values())


def test_images_without_annotations_are_checked_too(make_voc: Callable[..., Voc], run: Run) -> None:
    voc = make_voc(4)
    folder = voc.root / "JPEGImages"
    shutil.copyfile(voc.image("000001"), voc.image("000002"))
    voc.image("000003").write_bytes(b"")
    found = check(run, folder)
    assert found["wrong"] == {"unreadable-image": 1, "identical-images": 1}
    assert (found["images"], found["annotated"], found["objects"]) == (4, 0, 0)
    assert run("check", str(folder), "-j", "1", "-q")[0] == 0


def test_a_plot_is_a_png(planted: Callable[[str], Planted], run: Run, tmp_path: Path) -> None:
    at = planted("voc")
    tiny(at)
    for options in ((), ("--min-examples", "1000")):
        code, _, err = run("check", str(at.root), "-j", "1", "--plot", str(tmp_path / "a.png"), *options)
        assert code == 0
        assert "plots are in" in err
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.size == (1320, 880)
    code, _, err = run("check", str(at.root), "--plot", str(tmp_path / "no" / "a.png"))
    assert code == 3
    assert "create it" in err
    code, _, err = run("check", str(at.root), "--plot", str(tmp_path / "a.pdf"))
    assert code == 3
    assert "ends in .png" in err
