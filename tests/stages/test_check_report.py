"""``spp check``: what the report says, its options, and what it makes of unusual data sets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sppcli.datasets import open_dataset
from tests.conftest import Run, Voc
from tests.stages.planting import (
    Planted,
    across_the_edge,
    check,
    cut_off,
    leak,
    no_image,
    other_size,
    outside,
    rare,
    repeated,
    same_pixels_in_another_file,
    swapped,
    tiny,
    without_extent,
)


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


def test_a_set_without_splits_is_counted_as_it_is_divided(planted: Callable[[str], Planted], run: Run) -> None:
    at = planted("voc")
    assert check(run, at.root)["divided_by_content"] is False
    shutil.rmtree(at.root / "ImageSets")
    found = check(run, at.root)
    assert found["divided_by_content"] is True
    dataset = open_dataset([at.root])
    assert found["splits"] == {name: len(dataset.split(name)) for name in ("train", "val", "test")}
    assert sum(found["splits"].values()) == 44
    assert "drawn by content" in run("check", str(at.root), "-j", "1", "-q")[1]
    # Equal files fall on one side, whatever side that is.
    at.same("000001", "000004")
    assert "identical-across-splits" not in check(run, at.root)["wrong"]


@pytest.mark.parametrize("form", ["voc", "coco"])
def test_a_turned_photograph_annotated_in_the_frame_of_the_camera(
    planted: Callable[[str], Planted], run: Run, form: str
) -> None:
    """Its boxes are turned as the image is: none lies outside, though the image is 96 x 128 upright."""
    at = planted(form)
    at.add(at.train[0], "disc", (90, 20, 127, 60))
    with Image.open(at.image(at.train[0])) as image:
        tag = Image.Exif()
        tag[0x0112] = 6
        image.save(at.image(at.train[0]), exif=tag)
    found = check(run, at.root)
    assert [row["text"] for row in found["findings"]] == [
        "stated 128 x 96, the file has 96 x 128: both are turned by the EXIF tag"
    ]
    assert found["objects"] == 1 + sum(len(things) for things in at.voc.things.values())
    other_size(at)
    assert set(check(run, at.root)["wrong"]) >= {"size-differs", "reaches-outside"}


def test_objects_are_counted_as_they_are_trained_on(planted: Callable[[str], Planted], run: Run) -> None:
    at = planted("voc")
    for plant in (outside, across_the_edge, without_extent, swapped, tiny):
        plant(at)
    dataset = open_dataset([at.root])
    labels = [label for item in dataset.images for label in dataset.annotations(item.id).labels]
    assert check(run, at.root)["objects"] == len(labels)
