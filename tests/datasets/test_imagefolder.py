"""Folders of class folders: order, splits, division, and every complaint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.datasets.imagefolder import LabelledImages, divide, open_labelled, splits_of
from sppcli.errors import BadInput, MissingInput, UsageProblem


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_flat_folder_of_class_folders(tmp_path: Path) -> None:
    make(tmp_path, "dog/2.jpg", "dog/1.PNG", "cat/deep/er/x.png", "cat/a.jpg", "cat/.hidden.jpg", ".git/z.jpg", "n.txt")
    found = open_labelled(tmp_path)
    assert found.classes == ("cat", "dog")
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == [
        "cat/a.jpg", "cat/deep/er/x.png", "dog/1.PNG", "dog/2.jpg",
    ]  # fmt: skip
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.labels.dtype == np.int64
    assert (found.warnings, len(found), splits_of(tmp_path)) == ((), 4, ())


def test_splits_in_their_order(tmp_path: Path) -> None:
    make(tmp_path, "test/a/1.jpg", "train/a/1.jpg", "train/b/1.jpg")
    assert splits_of(tmp_path) == ("train", "test")
    train, test = open_labelled(tmp_path, "train"), open_labelled(tmp_path, "test", ["b", "a"])
    assert (train.classes, train.root) == (("a", "b"), tmp_path / "train")
    assert (test.classes, test.labels.tolist()) == (("b", "a"), [1])


def test_train_may_be_a_class(tmp_path: Path) -> None:
    make(tmp_path, "boat/1.jpg", "train/1.jpg")
    assert splits_of(tmp_path) == ()
    assert open_labelled(tmp_path).classes == ("boat", "train")


def test_extra_folders_beside_splits_do_not_hide_them(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.jpg", "val/a/1.jpg", "notes/readme.txt")
    assert splits_of(tmp_path) == ("train", "val")


def test_a_relative_root_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "set/a/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert open_labelled(Path("set")).paths == (tmp_path / "set/a/1.jpg",)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jpg", "empty/readme.txt", "loose.jpg")
    found = open_labelled(tmp_path)
    assert found.classes == ("a",)
    assert len(found.warnings) == 2
    assert "1 image lies beside the class folders and left out, the first: loose.jpg" in found.warnings[0]
    assert found.warnings[1] == f"class folder {tmp_path / 'empty'} holds no image and was left out"


@pytest.mark.parametrize(
    ("files", "root", "split", "classes", "error", "words"),
    [
        (["set/a/1.jpg"], "sett", None, None, MissingInput, "there is no folder .*did you mean 'set'"),
        (["set/1.jpg"], "set", None, None, MissingInput, "no class folders .1 image lies in it directly"),
        (["set/1.jpg"], "set/1.jpg", None, None, BadInput, "is a file"),
        (["set/a/x.txt"], "set", None, None, MissingInput, "no class folder of .* holds an image"),
        (["set/train/a/1.jpg"], "set", "test", None, MissingInput, "no folder 'test': it has train"),
        (["set/a/1.jpg"], "set", "test", None, MissingInput, "none of train, val and test"),
        (["set/dgo/1.jpg"], "set", None, ["cat", "dog"], BadInput, "not one of the 2 classes .did you mean 'dog'"),
    ],
)
def test_complaints(
    tmp_path: Path,
    files: list[str],
    root: str,
    split: str | None,
    classes: list[str] | None,
    error: type[Exception],
    words: str,
) -> None:
    make(tmp_path, *files)
    with pytest.raises(error, match=words):
        open_labelled(tmp_path / root, split, classes)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.floats(0.01, 0.99), st.integers(0, 9))
def test_divide_takes_its_share_of_each_class(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    paths = tuple(Path(f"/{i}.jpg") for i in range(len(labels)))
    images = LabelledImages(Path("/"), tuple("abcde"[: len(counts)]), paths, labels, ())
    rest, held = divide(images, share, seed)
    assert sorted(rest.paths + held.paths) == sorted(paths)
    for part in (rest, held):
        assert part.classes == images.classes
        assert part.labels.tolist() == [labels[paths.index(path)] for path in part.paths]
    for label, count in enumerate(counts):
        expected = min(max(round(share * count), 1), count - 1) if count > 1 else 0
        assert np.count_nonzero(held.labels == label) == expected
    assert divide(images, share, seed)[1].paths == held.paths


def test_another_seed_divides_otherwise(tmp_path: Path) -> None:
    images = open_labelled(make(tmp_path, *(f"a/{i}.jpg" for i in range(50))))
    assert divide(images, 0.5, 0)[1].paths != divide(images, 0.5, 1)[1].paths


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, float("nan")])
def test_a_share_that_has_no_meaning(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageProblem, match="between 0 and 1"):
        divide(open_labelled(make(tmp_path, "a/1.jpg")), share, 0)
