"""What ``spp detect`` writes, each format's own reader reads back; or the format refuses before the work begins."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.datasets import ALL, Dataset, open_dataset
from sppcli.datasets.coco import CocoDataset
from sppcli.datasets.results.coco import read_coco_results
from sppcli.datasets.results.voc import read_results
from sppcli.datasets.results.writers import result_writer
from sppcli.errors import BadInput, SppError, UsageProblem
from sppcli.proposals.window_files import read_windows
from sppcli.structures import Annotations, Detections, Found, ImageDetections, ImageItem, WrittenDetections
from tests.datasets.annotated_sets import write_coco_file

# Whatever a file may be called, endings of lines and blanks above all, but no folders.
NAMES = st.text(
    st.one_of(
        st.sampled_from(" \t\n\r\x0b\x0c\x1c\x85\u2028\ufeff\"'\\,;01aé\u0301"),
        st.characters(exclude_categories=("Cs",), exclude_characters="/\0"),
    ),
    min_size=1,
    max_size=12,
)


class Named(Dataset):
    """Images that are only names."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__("files", [Path("/")], Path("/"), [ImageItem(name, Path("/", f"{name}.jpg")) for name in ids])

    has_annotations = False
    classes = ()

    def split_names(self) -> tuple[str, ...]:
        return ()

    def annotations(self, image_id: str) -> Annotations:
        raise NotImplementedError

    def _split(self, name: str) -> tuple[str, ...]:
        raise NotImplementedError


def found_in(ids: Sequence[str], classes: Sequence[str], seed: int = 0) -> list[Found]:
    """Boxes with many decimals and scores of every size, some equal, in each image: by class, best first."""
    rng = np.random.default_rng(seed)
    found = []
    for name in ids:
        labels = np.sort(rng.integers(0, len(classes), 5))
        starts = rng.random((5, 2)) * 300
        boxes = np.concatenate([starts, starts + 1 + rng.random((5, 2)) * 900], axis=1).astype(np.float32)
        scores = np.where(rng.random(5) < 0.3, 0.5, rng.standard_normal(5)).astype(np.float32)
        order = np.lexsort((-scores, labels))
        detections = ImageDetections(boxes[order], scores[order], labels[order])
        found.append(Found(name, f"images/{name}.jpg", (2000, 2000), detections))
    return found


def written(kind: str, target: Path, dataset: Dataset, split: str, found: Iterable[Found], classes: Sequence[str]):
    with result_writer(kind, target, "test", io.StringIO()) as writer:
        writer.begin(dataset, split, tuple(classes))
        for one in found:
            writer.add(one)


def rows(found: Detections) -> list[tuple[object, ...]]:
    """Each detection with its names: what must survive."""
    return sorted(
        (found.image_ids[image], found.classes[label], *box, score)
        for image, label, box, score in zip(
            found.image.tolist(), found.label.tolist(), found.boxes.tolist(), found.scores.tolist(), strict=True
        )
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_voc_results_are_read_back_or_refused_at_once(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], classes: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("voc")
    found = found_in(ids, classes)
    try:
        written("voc", folder, Named(ids), ALL, found, classes)
    except UsageProblem:
        assert list(folder.iterdir()) == []
        assert any(name != name.strip() or {"\n", "\r"} & set(name) or name[0] == "\ufeff" for name in (*ids, *classes))
        return
    back = read_results(folder, "test", image_ids=ids)
    there = Detections.of_images(found, tuple(classes))
    assert [row[:2] for row in rows(back)] == [row[:2] for row in rows(there)]
    for name in ids:
        mine, theirs = (one.of_image(one.image_ids.index(name)).boxes.sum() for one in (there, back))
        assert mine == pytest.approx(theirs, abs=1e-2)


def test_plain_ids_reach_the_voc_files(tmp_path: Path) -> None:
    """So that the law above is not one of refusals only."""
    found = found_in(["a b", "é"], ["traffic light", "x_y"])
    written("voc", tmp_path, Named(["a b", "é"]), ALL, found, ["traffic light", "x_y"])
    assert rows(read_results(tmp_path, "test", image_ids=["a b", "é"]))[0][0] == "a b"


@pytest.mark.parametrize("name", ["a ", "a\nb", "a\rb", "\ufeffa"])
def test_an_id_that_a_line_cannot_hold(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UsageProblem, match="cannot stand in a VOC result file: rename the image"),
        result_writer("voc", tmp_path, "test", io.StringIO()) as writer,
    ):
        writer.begin(Named(["fine", name]), ALL, ("cat",))


def test_a_class_that_a_file_name_cannot_hold(tmp_path: Path) -> None:
    for name in ("a/b", "", "a\0b", "é" * 120):
        with (
            pytest.raises(UsageProblem, match="cannot stand in the name of a VOC result file"),
            result_writer("voc", tmp_path, "test", io.StringIO()) as writer,
        ):
            writer.begin(Named(["fine"]), ALL, ("cat", name))


@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_json_lines_are_read_back(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "found.jsonl"
    found = found_in(ids, ["cat"])
    written("jsonl", path, Named(ids), ALL, found, ["cat"])
    back = read_windows(path)
    assert list(back) == ids
    for one in found:
        order = np.argsort(-one.detections.scores, kind="stable")
        np.testing.assert_allclose(back[one.id].boxes, one.detections.boxes[order], atol=0.0051, rtol=1e-6)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5 * len(ids)
    for line in lines:
        assert set(json.loads(line)) == {"image", "path", "class", "score", "box"}


def coco_lines(found: WrittenDetections) -> list[tuple[object, ...]]:
    return sorted(
        (found.image_ids[image], found.classes[label], *box, score)
        for image, label, box, score in zip(
            found.image.tolist(), found.label.tolist(), found.xywh.tolist(), found.scores.tolist(), strict=True
        )
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NAMES.filter(str.strip), min_size=1, max_size=4, unique=True),
    st.lists(NAMES.filter(str.strip), min_size=1, max_size=3, unique=True),
    st.randoms(use_true_random=False),
)
def test_coco_results_are_read_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], classes: list[str], random
) -> None:
    """Against the data set's own file, whatever its numbers and their order."""
    folder = tmp_path_factory.mktemp("coco")
    numbers = random.sample(range(10**9), len(names) + len(classes))
    images = [{"id": number, "file_name": f"{name}.jpg"} for number, name in zip(numbers, names, strict=False)]
    categories = dict(zip(numbers[len(names) :], random.sample(classes, len(classes)), strict=True))
    write_coco_file(folder / "annotations" / "instances_val.json", images, [], categories)
    try:
        dataset = open_dataset([folder], images_needed=False)
    except SppError:
        return  # a name that leads elsewhere is the reader's business
    assert isinstance(dataset, CocoDataset)
    found = found_in([item.id for item in dataset.images], classes)
    written("coco", folder / "r.json", dataset, "val", found, classes)
    assert {row["image_id"] for row in json.loads((folder / "r.json").read_text())} <= set(numbers[: len(names)])
    read = read_coco_results(folder / "r.json", dataset, "val")
    made = Detections.of_images(found, tuple(classes))
    assert coco_lines(read) == coco_lines(WrittenDetections.of(made))
    # The corners that were found come back from it.
    ends = (read.xywh[:, :2] + read.xywh[:, 2:]).astype(np.float32)
    boxes = np.concatenate([read.xywh[:, :2].astype(np.float32), ends], axis=1)
    scores = read.scores.astype(np.float32)
    assert rows(Detections(read.image_ids, read.classes, read.image, read.label, boxes, scores)) == rows(made)


def two_splits(folder: Path, train: dict[int, str], val: dict[int, str]) -> CocoDataset:
    for split, categories in (("train", train), ("val", val)):
        images = [{"id": 1, "file_name": f"{split}.jpg"}, {"id": 2, "file_name": f"{split}2.jpg"}]
        write_coco_file(folder / "annotations" / f"instances_{split}.json", images, [], categories)
    dataset = open_dataset([folder], images_needed=False)
    assert isinstance(dataset, CocoDataset)
    return dataset


def coco_rows(tmp_path: Path, dataset: Dataset, split: str, classes: Sequence[str]) -> list[dict[str, object]]:
    ids = dataset.split(split)
    written("coco", tmp_path / "r.json", dataset, split, found_in(ids, classes), classes)
    records = json.loads((tmp_path / "r.json").read_text())
    assert isinstance(records, list)
    return records


def test_coco_ids_are_those_of_the_splits_own_file(tmp_path: Path) -> None:
    dataset = two_splits(tmp_path, {1: "cat", 2: "dog"}, {1: "dog", 2: "cat"})
    for split, numbers in (("train", {"cat": 1, "dog": 2}), ("val", {"cat": 2, "dog": 1})):
        records = coco_rows(tmp_path, dataset, split, ["cat", "dog"])
        assert {(row["category"], row["category_id"]) for row in records} == set(numbers.items())
        assert {row["image_id"] for row in records} == {1, 2}
    # In both files together, 1 is a cat and a dog, and two images.
    with pytest.raises(BadInput, match=r"instances_train\.json and .*instances_val\.json give the image id 1"):
        coco_rows(tmp_path, dataset, ALL, ["cat", "dog"])


def test_a_class_that_the_splits_file_lacks(tmp_path: Path) -> None:
    dataset = two_splits(tmp_path, {1: "cat", 9: "dog"}, {4: "cat"})
    records = coco_rows(tmp_path, dataset, "val", ["cat", "dog"])
    assert {(row["category"], row["category_id"]) for row in records} == {("cat", 4), ("dog", 9)}
    with pytest.raises(BadInput, match=r"'eel', which has no category in .*instances_val\.json"):
        coco_rows(tmp_path, dataset, "val", ["cat", "eel"])
    # The number that it has elsewhere is taken here.
    dataset = two_splits(tmp_path, {1: "cat", 4: "dog"}, {4: "cat"})
    with pytest.raises(BadInput, match="'dog', which has no category"):
        coco_rows(tmp_path, dataset, "val", ["cat", "dog"])


def test_ids_of_images_that_are_not_coco(tmp_path: Path) -> None:
    ids = ("000012", "7", "007", "shot_3", "٣")
    found = found_in(ids, ["cat"])
    written("coco", tmp_path / "r.json", Named(ids), ALL, found, ["cat"])
    records = json.loads((tmp_path / "r.json").read_text())
    named = {row["file_name"]: row["image_id"] for row in records}
    assert named == {
        "images/000012.jpg": 12,
        "images/7.jpg": "7",
        "images/007.jpg": "007",
        "images/shot_3.jpg": "shot_3",
        "images/٣.jpg": 3,
    }
    assert {row["category_id"] for row in records} == {1}


@pytest.mark.parametrize("kind", ["jsonl", "coco", "voc"])
def test_a_writer_that_is_interrupted_leaves_no_file(tmp_path: Path, kind: str) -> None:
    def stopping() -> Iterator[Found]:
        yield found_in(["a"], ["cat"])[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(kind, tmp_path / "out", Named(["a"]), ALL, stopping(), ["cat"])
    assert list(tmp_path.iterdir()) == []
