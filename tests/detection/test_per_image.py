"""What is to do of a run's images, and what becomes of those that cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sppcli.detection.per_image import ListedImages, PerImage
from sppcli.errors import BadInput
from sppcli.runtime.options import RunOptions
from sppcli.runtime.progress import NoProgress
from sppcli.structures import ImageItem, Skipped
from tests.conftest import Run, Voc

KEYS = ("x", "y", "x", "z", "y")
PATHS = tuple(f"{row}.jpg" for row in range(5))


class Heard(NoProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.done = 0

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def advance(self, n: int = 1) -> None:
        self.done += n


def test_of_equal_images_the_first_is_to_do() -> None:
    work = PerImage(PATHS, KEYS, RunOptions())
    assert work.todo(lambda key: False) == [0, 1, 3]
    assert work.todo({"x"}.__contains__) == [1, 3]
    work.leave_out(4, "no reason")
    assert work.todo(lambda key: False) == [0, 3]


def test_what_fails_is_skipped_with_its_equals() -> None:
    heard = Heard()
    work = PerImage(PATHS, KEYS, RunOptions(progress=heard))

    def load(row: int) -> int:
        if row == 1:
            raise BadInput("1.jpg: damaged image")
        return 10 * row

    todo = work.todo(lambda key: False)
    assert list(work.readable(todo, load, ahead=2)) == [(0, 0), (3, 30)]
    assert heard.warnings == ["skipped: 1.jpg: damaged image"]
    assert heard.done == 1
    assert work.succeeded(todo) == 2
    assert work.good() == [0, 2, 3]
    assert work.skipped() == tuple(Skipped(f"{row}.jpg", "1.jpg: damaged image") for row in (1, 4))
    images = ListedImages(("a", "b", "c", "d", "e"), PATHS, KEYS, {})
    table = work.table(images, [0, 2, 3], np.ones((3, 2)), before=(Skipped("f.jpg", "gone"),))
    assert (table.ids, table.paths, table.digests) == (("a", "c", "d"), ("0.jpg", "2.jpg", "3.jpg"), ("x", "x", "z"))
    assert [item.name for item in table.skipped] == ["f.jpg", "1.jpg", "4.jpg"]


def test_strict_ends_the_run_at_the_first() -> None:
    work = PerImage(PATHS, KEYS, RunOptions(strict=True))

    def load(row: int) -> int:
        raise BadInput(f"{row}.jpg: damaged image")

    with pytest.raises(BadInput, match=r"^0.jpg: damaged image$"):
        list(work.readable([0, 1], load, ahead=1))


def test_a_run_that_is_left_with_no_image_names_the_first() -> None:
    work = PerImage(PATHS[:2], KEYS[:2], RunOptions())
    for row in (1, 0):
        work.leave_out(row, f"{row} is bad")
    with pytest.raises(BadInput, match=r"^none of the 2 images could be read; the first: 0 is bad$"):
        work.good()


def test_unreadable_files_have_a_place_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"anything")
    items = [ImageItem("a", tmp_path / "a.jpg"), ImageItem("b", tmp_path / "b.jpg")]
    listed = ListedImages.of(items, tmp_path)
    assert listed.paths == ("a.jpg", "b.jpg")
    assert listed.digests[1] == "unreadable b"
    assert list(listed.unreadable) == [1]
    assert ListedImages.of(items[:1], tmp_path).fingerprint() != listed.fingerprint()


def test_a_dry_run_counts_what_a_run_does(tmp_path: Path, voc: Voc, run: Run) -> None:
    shutil.copytree(voc.root, tmp_path / "shapes")
    pictures = tmp_path / "shapes" / "JPEGImages"
    shutil.copy(pictures / "000001.jpg", pictures / "000002.jpg")
    arguments = ("propose", str(pictures), "-o", str(tmp_path / "p.h5"), "-j", "1", "-q", "--json")
    planned = json.loads(run(*arguments, "--dry-run")[1])
    done = json.loads(run(*arguments)[1])
    assert (planned["found"], planned["kept"]) == (done["found"], done["kept"])
    assert done["kept"] == 1
