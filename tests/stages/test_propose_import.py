"""Windows from files of others, through ``spp propose --import``: every format, and what is wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from sppcli.artefacts.proposals import Proposals, read_proposals
from tests.conftest import Voc
from tests.stages.conftest import Run, Work
from tests.stages.matfile import mat_file

# Of an image 96 high and 128 wide, 0-based and half-open, in the file's order.
BOXES = {
    "000001": [[10, 20, 60, 70], [0, 0, 128, 96], [5, 6, 7, 9]],
    "000002": [[1, 2, 3, 4]],
    "000003": [[100, 50, 128, 96], [0, 0, 10, 10]],
}


@pytest.fixture
def here(voc: Voc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    monkeypatch.chdir(tmp_path)
    return voc


def yxyx(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    """1-based inclusive rows y0 x0 y1 x1, as Selective Search's files have them."""
    return [[y0 + 1, x0 + 1, y1, x1] for x0, y0, x1, y1 in boxes]


def save_mat(path: Path, images: Sequence[str], boxes: Sequence[Sequence[Sequence[float]]], kind: str) -> None:
    if kind == "by hand":
        path.write_bytes(mat_file(images, boxes))
        return
    cell_of_ids = np.empty((len(images), 1), dtype=object)
    cell_of_boxes = np.empty((1, len(images)), dtype=object)
    for i, (name, rows) in enumerate(zip(images, boxes, strict=True)):
        cell_of_ids[i, 0] = name
        cell_of_boxes[0, i] = np.array(rows, dtype=np.uint16 if kind == "integers" else np.float64).reshape(-1, 4)
    content = {"images": cell_of_ids, "boxes": cell_of_boxes}
    scipy.io.savemat(path, content, do_compression=kind == "compressed")


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def check(stored: Proposals, scores: dict[str, list[float]] | None = None) -> None:
    """``stored`` holds just BOXES."""
    assert stored.images.ids == tuple(BOXES)
    for i, name in enumerate(stored.images.ids):
        np.testing.assert_array_equal(stored.of(i), BOXES[name])
        found = stored.scores_of(i)
        if scores:
            np.testing.assert_array_equal(found, np.float32(scores[name]))
        else:
            np.testing.assert_array_equal(found, np.linspace(1, 0, len(found), endpoint=False, dtype=np.float32))


@pytest.mark.parametrize("kind", ["by hand", "doubles", "compressed", "integers"])
def test_matlab_files_of_selective_search(here: Voc, run: Run, kind: str) -> None:
    save_mat(Path("ss.mat"), list(BOXES), [yxyx(rows) for rows in BOXES.values()], kind)
    code, out, err = run("propose", "voc", "--import", "ss.mat")
    assert code == 0, err
    assert "3 images, 6 proposals" in out
    assert "5 skipped" in out
    assert "5 of 8 images have no proposals in ss.mat, the first: 000004" in err
    stored = read_proposals(Path("proposals.h5"))
    check(stored)
    assert stored.header.config["method"] == "imported"
    assert stored.header.source["imports"] == [{"path": str(Path("ss.mat").absolute()), "method": ""}]
    assert {item.reason for item in stored.images.skipped} == {"no proposals in ss.mat"}


def test_scipy_reads_the_file_made_by_hand_as_matlab_lays_it_out() -> None:
    import io

    content = scipy.io.loadmat(io.BytesIO(mat_file(["a", "bc"], [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 8, 9, 9]]])))
    assert content["images"].shape == (2, 1)
    assert content["boxes"].shape == (1, 2)
    assert content["images"][1, 0].tolist() == ["bc"]
    assert content["boxes"][0, 0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("named", ["id", "file name", "path"])
def test_csv(here: Voc, run: Run, named: str) -> None:
    form = {"id": "{}", "file name": "{}.jpg", "path": "JPEGImages/{}.jpg"}[named]
    lines = [f"{form.format(name)},{','.join(map(str, row))}" for name, rows in BOXES.items() for row in rows]
    # As spreadsheets save it: a mark at the start, CRLF, blanks after commas, an empty line.
    write_csv(Path("w.csv"), "\ufeffimage, x0, y0, x1, y1\r\n" + "\r\n".join(lines) + "\r\n\r\n")
    code, _, err = run("propose", "voc", "--import", "w.csv")
    assert code == 0, err
    check(read_proposals(Path("proposals.h5")))


def test_csv_with_scores_is_put_in_their_order(here: Voc, run: Run) -> None:
    scores = {name: [9.5 - i for i in range(len(rows))] for name, rows in BOXES.items()}
    lines = [
        f"{name},{','.join(map(str, row))},{score}"
        for name, rows in BOXES.items()
        for row, score in reversed(list(zip(rows, scores[name], strict=True)))
    ]
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1,score\n" + "\n".join(lines))
    assert run("propose", "voc", "--import", "w.csv")[0] == 0
    check(read_proposals(Path("proposals.h5")), scores)


def test_json_lines(here: Voc, run: Run) -> None:
    lines = [json.dumps({"image": name, "box": row, "class": "x"}) for name, rows in BOXES.items() for row in rows]
    write_csv(Path("w.jsonl"), "\n".join(lines) + "\n")
    assert run("propose", "voc", "--import", "w.jsonl")[0] == 0
    check(read_proposals(Path("proposals.h5")))


@pytest.mark.parametrize("named", ["number", "id", "file name", "images list"])
def test_coco_results(here: Voc, run: Run, named: str) -> None:
    keys = {
        "number": lambda name: int(name),
        "id": lambda name: name,
        "file name": lambda name: f"{name}.jpg",
        "images list": lambda name: int(name) + 70,
    }
    records = [
        {"image_id": keys[named](name), "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": 5.0 - i}
        for name, rows in BOXES.items()
        for i, (x0, y0, x1, y1) in enumerate(rows)
    ]
    images = [{"id": int(name) + 70, "file_name": f"{name}.jpg"} for name in BOXES]
    content = {"images": images, "annotations": records} if named == "images list" else records
    Path("w.json").write_text(json.dumps(content))
    code, _, err = run("propose", "voc", "--import", "w.json")
    assert code == 0, err
    check(read_proposals(Path("proposals.h5")), {name: [5.0 - i for i in range(len(r))] for name, r in BOXES.items()})


def test_windows_beyond_the_image_are_cut_empty_ones_and_copies_left_out(here: Voc, run: Run) -> None:
    rows = ["-5,-3,20,30", "100,80,500,500", "200,10,220,20", "7,7,7,30", "0,0,20,30", "1.5,2.25,3.5,4"]
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1\n" + "".join(f"000001,{row}\n" for row in rows))
    code, out, err = run("propose", "voc", "--import", "w.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["imported"] == {"w.csv": 3}
    assert "w.csv: 2 proposals reached beyond their image and were cut to it" in err
    assert "w.csv: 2 proposals without extent in their image were left out" in err
    stored = read_proposals(Path("proposals.h5"))
    np.testing.assert_array_equal(stored.of(0), [[0, 0, 20, 30], [100, 80, 128, 96], [1.5, 2.25, 3.5, 4]])
    assert run("propose", "voc", "--import", "w.csv", "--strict", "-o", "s.h5")[0] == 3
    assert not Path("s.h5").exists()


def test_an_image_listed_without_windows_is_kept(here: Voc, run: Run) -> None:
    save_mat(Path("ss.mat"), ["000001", "000002"], [yxyx([[1, 2, 3, 4]]), []], "doubles")
    assert run("propose", "voc", "--import", "ss.mat")[0] == 0
    stored = read_proposals(Path("proposals.h5"))
    assert stored.images.ids == ("000001", "000002")
    assert np.diff(stored.offsets).tolist() == [1, 0]


def test_copies_leave_the_order_as_it_is(here: Voc, run: Run) -> None:
    rows = [(9, 5), (3, 5), (9, 5), (1, 7), (3, 5)]
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1\n" + "".join(f"000001,{x},{y},40,50\n" for x, y in rows))
    assert run("propose", "voc", "--import", "w.csv")[0] == 0
    assert read_proposals(Path("proposals.h5")).of(0)[:, :2].tolist() == [[9, 5], [3, 5], [1, 7]]


def test_at_most_so_many_of_an_import(here: Voc, run: Run) -> None:
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1\n" + "".join(f"000001,{i},0,{i + 2},9\n" for i in range(9)))
    code, _, err = run("propose", "voc", "--import", "w.csv", "--max-proposals", "4")
    assert code == 0
    assert "w.csv: --max-proposals 4 leaves out 5 further proposals" in err
    assert read_proposals(Path("proposals.h5")).of(0)[:, 0].tolist() == [0, 1, 2, 3]


def test_a_union_of_files_has_no_copies_and_names_its_sources(here: Voc, run: Run) -> None:
    write_csv(Path("a.csv"), "image,x0,y0,x1,y1\n000001,0,0,9,9\n000001,1,1,8,8\n")
    write_csv(Path("b.csv"), "image,x0,y0,x1,y1\n000001,1,1,8,8\n000001,2,2,7,7\n000002,0,0,5,5\n")
    assert run("propose", "voc", "--import", "a.csv", "-o", "a.h5")[0] == 0
    code, _, err = run("propose", "voc", "--import", "a.h5", "--import", "b.csv", "-o", "both.h5")
    assert code == 0, err
    stored = read_proposals(Path("both.h5"))
    assert stored.images.ids == ("000001", "000002")
    np.testing.assert_array_equal(stored.of(0), [[0, 0, 9, 9], [1, 1, 8, 8], [2, 2, 7, 7]])
    np.testing.assert_array_equal(stored.of(1), [[0, 0, 5, 5]])
    assert [item["method"] for item in stored.header.source["imports"]] == ["imported", ""]
    # Again: nothing to do. With other content in a file: made again.
    assert "up to date" in run("propose", "voc", "--import", "a.h5", "--import", "b.csv", "-o", "both.h5")[1]
    write_csv(Path("b.csv"), "image,x0,y0,x1,y1\n000001,2,2,7,7\n")
    assert "up to date" not in run("propose", "voc", "--import", "a.h5", "--import", "b.csv", "-o", "both.h5")[1]
    assert read_proposals(Path("both.h5")).images.ids == ("000001",)


def test_imported_windows_are_added_to_a_search(here: Voc, run: Run) -> None:
    write_csv(Path("a.csv"), "image,x0,y0,x1,y1\n000001,3,5,90,91\n")
    assert run("propose", "voc", "--mode", "single", "-q", "-o", "search.h5")[0] == 0
    code, _, err = run(
        "propose", "voc", "--method", "selective-search", "--mode", "single", "--import", "a.csv", "-q", "-o", "u.h5"
    )
    assert code == 0, err
    alone, both = read_proposals(Path("search.h5")), read_proposals(Path("u.h5"))
    assert both.header.config["method"] == "selective-search + imported"
    assert both.images.ids == alone.images.ids
    assert both.of(0)[1].tolist() == [3, 5, 90, 91]
    assert {tuple(box) for box in both.of(0)} == {tuple(box) for box in alone.of(0)} | {(3, 5, 90, 91)}
    np.testing.assert_array_equal(both.of(1), alone.of(1))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("image,xO,y0,x1,y1\n000001,1,2,3,4\n", "column 2 is 'xO', not 'x0': the first line must be"),
        ("image,x0,y0,x1,y1,score,label\n", "it has other columns"),
        ("000001,1,2,3,4\n", "the first line must be image,x0,y0,x1,y1"),
        ("image,y0,x0,y1,x1\n000001,1,2,3,4\n", "column 2 is 'y0', not 'x0'"),
        ("", "it has other columns"),
        ("image,x0,y0,x1,y1\n", "holds no proposal"),
        ("image,x0,y0,x1,y1\n000001,1,2,3\n", "line 2: 4 fields, where the header has 5"),
        ("image,x0,y0,x1,y1\n000001,1,two,3,4\n", "line 2: y0 is not a number but 'two'"),
        ("image,x0,y0,x1,y1\n000001,1,2,nan,4\n", "line 2: x1 is not a finite number"),
        ("image,x0,y0,x1,y1\n000001,1,2,inf,4\n", "line 2: x1 is not a finite number"),
        ("image,x0,y0,x1,y1,score\n000001,1,2,3,4,\n", "line 2: score is not a number but ''"),
        ("image,x0,y0,x1,y1\n\n000001,9,2,3,4\n", "line 3: the box ends before it starts"),
        ("image,x0,y0,x1,y1\n,1,2,3,4\n", "line 2: the image is not named"),
        ("image,x0,y0,x1,y1\n00000l,1,2,3,4\n", "it has '00000l', ids here are as '000001' (did you mean '00000"),
        ("image,x0,y0,x1,y1\n1,1,2,3,4\n000001.jpg,1,2,3,4\n", "'1' and '000001.jpg' are both image 000001"),
    ],
)
def test_csv_files_that_cannot_be_used(here: Voc, run: Run, text: str, part: str) -> None:
    write_csv(Path("w.csv"), text)
    code, _, err = run("propose", "voc", "--import", "w.csv")
    assert code == 3
    assert err.startswith("spp propose: error: w.csv")
    assert part in err
    assert err.count("\n") == 1
    assert not Path("proposals.h5").exists()


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("w.jsonl", '{"image": "000001"}', 'line 1: expected {"image": id'),
        ("w.jsonl", "\n[1, 2", "line 2: not JSON"),
        ("w.jsonl", '{"image": "000001", "box": [1, 2, 3]}', "line 1: box is not a list of four numbers"),
        ("w.jsonl", '{"image": "000001", "box": [1, 2, NaN, 5]}', "line 1: box is not a finite number"),
        ("w.jsonl", '{"image": "000001", "box": [1, 2, true, 5]}', "line 1: box is not a finite number"),
        ("w.jsonl", '{"image": 1.5, "box": [1, 2, 3, 5]}', "line 1: 1.5 is not an image's id"),
        ("w.json", "{}", "expected COCO results"),
        ("w.json", "7", "expected COCO results"),
        ("w.json", "[1", "not JSON"),
        ("w.json", '[{"image_id": 1}]', "record 0: has no 'image_id' or no 'bbox'"),
        ("w.json", '[{"image_id": 1, "bbox": [1, 2, -3, 4]}]', "record 0: the box ends before it starts"),
        ("w.json", '[{"image_id": 77, "bbox": [1, 2, 3, 4]}]', "none of its 1 images is in the data set: it has '77'"),
        ("w.json", '{"images": [{"id": 1}], "annotations": []}', "an entry of 'images' has no 'id' or no 'file_name'"),
        ("w.txt", "x", "proposals are imported from .mat, .csv, .jsonl, .json and .h5 files"),
        ("w.mat", "no matlab", "not a readable MATLAB file"),
        ("w.h5", "no hdf5", "not a readable HDF5 file"),
    ],
)
def test_other_files_that_cannot_be_used(here: Voc, run: Run, name: str, text: str, part: str) -> None:
    Path(name).write_text(text)
    code, _, err = run("propose", "voc", "--import", name)
    assert code == 3
    assert err.startswith(f"spp propose: error: {name}")
    assert part in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"proposals": np.zeros((2, 4))}, "has no variable 'boxes'"),
        ({"boxes": np.zeros((2, 4)), "images": np.zeros(2)}, "is not a cell array"),
    ],
)
def test_matlab_files_of_another_layout(here: Voc, run: Run, content: dict[str, object], part: str) -> None:
    scipy.io.savemat("w.mat", content)
    code, _, err = run("propose", "voc", "--import", "w.mat")
    assert code == 3
    assert part in err


@pytest.mark.parametrize(
    ("ids", "boxes", "part"),
    [
        (["000001"], [[[1, 2, float("nan"), 4]]], "boxes{1} (image '000001'), row 1: a coordinate is not a finite"),
        (["000001"], [[[1, 2, 3, 4], [9, 2, 3, 4]]], "boxes{1} (image '000001'), row 2: the box ends before it starts"),
        (["000001", "000001"], [[[1, 2, 3, 4]], [[1, 2, 3, 4]]], "image '000001' stands twice"),
        (["000001", "000002"], [[[1, 2, 3, 4]]], "2 images but boxes of 1"),
        (["cat"], [[[1, 2, 3, 4]]], "none of its 1 images is in the data set: it has 'cat', ids here are as '000001'"),
    ],
)
def test_matlab_files_with_a_fault(here: Voc, run: Run, ids: list[str], boxes: list[object], part: str) -> None:
    Path("w.mat").write_bytes(mat_file(ids, boxes))  # type: ignore[arg-type]
    code, _, err = run("propose", "voc", "--import", "w.mat")
    assert code == 3
    assert part in err


def test_a_file_of_matlab_7_3_says_how_to_save_it(here: Voc, run: Run) -> None:
    with h5py.File("w.mat", "w", userblock_size=512) as file:
        file["boxes"] = np.zeros(3)
    with Path("w.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    code, _, err = run("propose", "voc", "--import", "w.mat")
    assert code == 3
    assert "w.mat: a MATLAB 7.3 file; save it again" in err
    assert "'-v7'" in err


def test_a_name_that_two_images_have(here: Voc, run: Run) -> None:
    for folder in ("p/a", "p/b"):
        Path(folder).mkdir(parents=True)
        shutil.copy(here.image("000001"), f"{folder}/x.jpg")
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1\nx.jpg,1,2,3,4\n")
    code, _, err = run("propose", "p", "--import", "w.csv")
    assert code == 3
    assert "'x.jpg' may be a/x or b/x; name images by their path" in err
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1\nb/x.jpg,1,2,3,4\n")
    assert run("propose", "p", "--import", "w.csv")[0] == 0


def test_proposals_of_other_images_and_a_missing_file(here: Voc, run: Run) -> None:
    shutil.copytree(here.root, "other")
    for path in Path("other/JPEGImages").iterdir():
        path.write_bytes(path.read_bytes() + b"\0")
    write_csv(Path("w.csv"), "image,x0,y0,x1,y1\n000001,1,2,3,4\n")
    assert run("propose", "other", "--import", "w.csv", "-o", "other.h5")[0] == 0
    code, _, err = run("propose", "voc", "--import", "other.h5")
    assert code == 3
    assert "other.h5: holds proposals of other images" in err
    code, _, err = run("propose", "voc", "--import", "nix.csv")
    assert code == 3
    assert "nix.csv: there is no such file to import" in err


def test_a_detector_is_trained_on_imported_windows(work: Work, run: Run) -> None:
    """The whole chain on windows that are the objects and their surroundings; new images have no such windows."""
    rng = np.random.default_rng(0)
    lines = ["image,x0,y0,x1,y1"]
    for name, things in work.voc.things.items():
        for thing in things:
            for _ in range(12):
                x0, y0, x1, y1 = np.array(thing.box) + rng.integers(-8, 9, 4)
                lines.append(f"{name},{x0},{y0},{max(x1, x0 + 4)},{max(y1, y0 + 4)}")
    write_csv(Path("w.csv"), "\n".join(lines))
    assert run("propose", "shapes", "--import", "w.csv", "-q")[0] == 0
    weights = ("--weights", "net.safetensors", "--scales", "96,160", "--precision", "fp32")
    assert run("extract", "-q", *weights)[0] == 0
    assert run("train-svm", "-q")[0] == 0
    assert run("train-bbox", "-q")[0] == 0
    code, out, err = run("evaluate", "--json")
    assert code == 0, err
    assert json.loads(out)["mAP"] > 0.6
    code, _, err = run("detect", str(next(Path("shapes/JPEGImages").glob("*.jpg"))))
    assert code == 2
    assert "trained on imported proposals, which new images do not have" in err
