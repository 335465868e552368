"""A sound data set, and faults to plant in it, for the tests of ``spp check``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Run, Voc


class Planted:
    """A sound data set of 44 images in one format, and ways to break it. Boxes are 0-based, half-open."""

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


def misspelt(at: Planted) -> None:
    for number, image_id in enumerate(at.voc.ids):
        for column in range(8):
            at.add(image_id, "disc", (2 + 15 * column, 2, 14 + 15 * column, 16))
        if number % 5:
            at.add(image_id, "disk", (2, 70, 40, 94))


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


def check(run: Run, root: Path, *options: str) -> dict:
    code, out, err = run("check", str(root), "--json", "-j", "1", "-q", *options)
    assert code == 0, err
    found: dict = json.loads(out)
    return found
