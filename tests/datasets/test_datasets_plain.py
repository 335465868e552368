"""Folders and files of images: ids, what is left out, and every complaint."""

from __future__ import annotations

import os

import pytest

from sppcli.datasets import open_dataset
from sppcli.errors import BadInput, MissingInput, UsageProblem


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def ids(dataset):
    return [item.id for item in dataset.images]


def test_a_folder_is_searched_through(tmp_path):
    make(tmp_path, "b.JPG", "a.png", "sub/deep/c.TIFF", "v1.2.webp", "notes.txt", ".hidden.jpg", ".git/d.jpg")
    dataset = open_dataset([tmp_path])
    assert dataset.kind == "folder"
    assert dataset.root == tmp_path
    assert dataset.sources == (tmp_path,)
    assert ids(dataset) == ["a", "b", "sub/deep/c", "v1.2"]
    assert dataset.images[2].path == tmp_path / "sub/deep/c.TIFF"
    assert dataset.split("all") == ("a", "b", "sub/deep/c", "v1.2")
    assert (dataset.split_names(), dataset.classes, dataset.has_annotations, dataset.warnings) == ((), (), False, [])


def test_every_extension_counts(tmp_path):
    endings = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp", "ppm", "pgm", "gif"]
    make(tmp_path, *(f"{ending}_one.{ending}" for ending in endings))
    assert len(open_dataset([tmp_path]).images) == len(endings)


def test_ids_that_would_clash_keep_the_extension(tmp_path):
    make(tmp_path, "a.jpg", "a.png", "b.jpg", "a.jpg.png", "sub/a.jpg")
    assert ids(open_dataset([tmp_path])) == ["a.jpg", "a.jpg.png", "a.png", "b", "sub/a"]


def test_files_have_ids_below_their_common_parent(tmp_path):
    make(tmp_path, "x/a.jpg", "y/z/b.jpg", "y/z/c.txt")
    dataset = open_dataset([tmp_path / "x/a.jpg", str(tmp_path / "y/z/b.jpg")])
    assert (dataset.kind, dataset.root, ids(dataset)) == ("files", tmp_path, ["x/a", "y/z/b"])
    one = open_dataset([tmp_path / "x/a.jpg"])
    assert (one.kind, one.root, ids(one)) == ("files", tmp_path / "x", ["a"])
    mixed = open_dataset([tmp_path / "y", tmp_path / "x/a.jpg"])
    assert (mixed.kind, mixed.root, ids(mixed)) == ("files", tmp_path, ["x/a", "y/z/b"])


def test_the_same_file_counts_once(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg", "b.jpg")
    (tmp_path.parent / "alias").unlink(missing_ok=True)
    (tmp_path.parent / "alias").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset(["a.jpg", "./a.jpg", f"../{tmp_path.name}/a.jpg", "../alias/a.jpg", "."])
    assert len(dataset.images) == 2
    assert all(item.path.is_absolute() for item in dataset.images)
    assert all(source.is_absolute() for source in dataset.sources)


def test_links_to_folders_are_followed_once(tmp_path):
    make(tmp_path / "data", "sub/a.jpg")
    make(tmp_path / "elsewhere", "b.jpg")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/a_link_to_sub").symlink_to(tmp_path / "data/sub")
    (tmp_path / "data/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/broken.jpg").symlink_to(tmp_path / "nothing")
    assert ids(open_dataset([tmp_path / "data"])) == ["other/b", "sub/a"]


def test_a_name_that_is_not_utf8_is_left_out_and_said(tmp_path):
    make(tmp_path, "a.jpg")
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    dataset = open_dataset([tmp_path])
    assert ids(dataset) == ["a"]
    assert len(dataset.warnings) == 1
    assert "not UTF-8" in dataset.warnings[0]
    dataset.warnings[0].encode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_that_cannot_be_read_is_said(tmp_path):
    make(tmp_path, "a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        dataset = open_dataset([tmp_path])
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert ids(dataset) == ["a"]
    assert "closed cannot be read" in dataset.warnings[0]


def test_what_is_missing_is_named(tmp_path):
    make(tmp_path, "photos/holiday/a.jpg")
    with pytest.raises(MissingInput, match=r"no file or folder .*/photos/holliday \(did you mean 'holiday'\?\)$"):
        open_dataset([tmp_path / "photos/holliday"])
    with pytest.raises(MissingInput, match=r"no file or folder .*/fotos \(did you mean 'photos'\?\)$"):
        open_dataset([tmp_path / "fotos/holiday/a.jpg"])
    with pytest.raises(MissingInput, match=r"no file or folder .*/quite-different$"):
        open_dataset([tmp_path / "quite-different"])
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(MissingInput, match=r"/link is a link to something that is not there: .*/nothing"):
        open_dataset([tmp_path / "link"])
    with pytest.raises(MissingInput, match=r"no file or folder .*/a\.jpg/b"):
        open_dataset([tmp_path / "photos/holiday/a.jpg/b"])


def test_a_folder_without_images(tmp_path):
    make(tmp_path, "notes.txt", "Annotations/a.xml")
    with pytest.raises(
        MissingInput, match=r"holds no image: files ending in jpg jpeg png .* gif are looked for.*JPEGIm"
    ):
        open_dataset([tmp_path])


def test_a_file_that_is_no_image(tmp_path):
    make(tmp_path, "notes.txt", "a.jpg")
    with pytest.raises(BadInput, match=r"notes\.txt is not an image by its name: give files ending in jpg"):
        open_dataset([tmp_path / "a.jpg", tmp_path / "notes.txt"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_path_without_permission(tmp_path):
    make(tmp_path, "closed/sub/a.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(BadInput, match="closed/sub cannot be read: permission is denied"):
            open_dataset([tmp_path / "closed/sub"])
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_no_source():
    with pytest.raises(UsageProblem, match="no source was given"):
        open_dataset([])


def test_plain_images_have_no_splits_or_annotations(tmp_path):
    dataset = open_dataset([make(tmp_path, "a.jpg")])
    with pytest.raises(MissingInput, match=r"has no split 'al': choose one of all \(did you mean 'all'\?\)"):
        dataset.split("al")
    with pytest.raises(MissingInput, match=r"no ground truth for 'a': give a VOC data set"):
        dataset.annotations("a")
    with pytest.raises(MissingInput, match="no ground truth"):
        dataset.annotation_digest(["a"])
