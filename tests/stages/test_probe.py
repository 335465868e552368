"""``spp probe``: protocols against hand-computed cases and scikit-learn on the plain vectors, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.svm import LinearSVC

from sppcli.artefacts.image_features import ImageFeatures, write_image_features
from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.store import Header
from sppcli.stages.probe import draw_split
from tests.conftest import build_voc
from tests.stages.conftest import Run, write_network

CLASSES = ("ant", "bee", "cow")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(
    vectors: Sequence[Sequence[float]] | np.ndarray,
    labels: Sequence[Sequence[int]] | np.ndarray,
    splits: dict[str, Sequence[int]],
    classes: Sequence[str] = CLASSES,
    kind: str = "class folders",
) -> None:
    """An image-features.h5 of these vectors; ``splits``: name -> rows."""
    n = len(vectors)
    in_split = np.array([[row in rows for rows in splits.values()] for row in range(n)], dtype=np.bool_)
    names = tuple(f"{row:04d}" for row in range(n))
    write_image_features(
        ImageFeatures(
            Path("image-features.h5"),
            Header("image-features", {"side": 32}, {"images": "ab" * 32}, {"kind": kind}),
            ImageTable(names, names, names, np.full((n, 2), 32)),
            np.asarray(vectors, dtype=np.float32),
            tuple(classes),
            np.asarray(labels, dtype=np.int8).reshape(n, len(classes)),
            tuple(splits),
            in_split.reshape(n, len(splits)),
        )
    )


def one_hot(truth: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.where(truth[:, None] == np.arange(classes), 1, -1)


def clouds(n: int, dimensions: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of unit length around one centre a class, and their classes."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    centres = np.random.default_rng(99).standard_normal((3, dimensions))
    vectors = centres[truth] + spread * rng.standard_normal((n, dimensions))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), truth


def result(run: Run, *arguments: str) -> dict[str, Any]:
    code, out, err = run("probe", "-q", "--json", *arguments)
    assert code == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def by_sklearn(vectors: np.ndarray, truth: np.ndarray, train: np.ndarray, test: np.ndarray, c: float) -> np.ndarray:
    """Predictions of one LinearSVC a class on the vectors as they are, after scaling their mean length to 1."""
    scaled = vectors / np.linalg.norm(vectors[train], axis=1).mean()
    scores = []
    for label in range(3):
        model = LinearSVC(C=c, loss="hinge", tol=1e-6, max_iter=100_000, random_state=5)
        model.fit(scaled[train], truth[train] == label)
        scores.append(model.decision_function(scaled[test]))
    return np.argmax(scores, axis=0)


# Protocols


def test_ap_of_a_case_computed_by_hand(run: Run) -> None:
    """One feature; class ant scores by it, bee by its opposite. By falling score ant's test labels are 1 0 -1 1 -1:
    precision 1 up to recall 1/2 (6 of 11 points), then 2/3 (5 points). Bee's are -1 1 1 0 1: 1/2, 2/3, 3/4, so that
    the best from each recall on is always 3/4.
    """
    train = [[2.0], [1.5], [-1.5], [-2.0]]
    train_labels = [[1, -1], [1, -1], [-1, 1], [-1, 1]]
    test = [[5.0], [4.0], [3.0], [2.0], [1.0]]
    test_labels = [[1, 1], [0, 0], [-1, 1], [1, 1], [-1, -1]]
    splits = {"trainval": range(4), "test": range(4, 9)}
    write(train + test, train_labels + test_labels, splits, ("ant", "bee"), "voc")
    found = result(run, "--c", "1")
    assert found["protocol"] == "voc2007"
    ap = {row["name"]: row["value"] for row in found["classes"]}
    assert ap["ant"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert ap["bee"] == pytest.approx(3 / 4)
    assert found["value"] == pytest.approx((ap["ant"] + ap["bee"]) / 2)
    assert [(row["train"], row["test"]) for row in found["classes"]] == [(2, 2), (2, 3)]


def test_difficult_images_teach_nothing(run: Run) -> None:
    """Were the images at 3 negatives of the class, its scores would fall with the feature and not rise."""
    vectors = [[1.0], [-1.0], [3.0], [3.0], [3.0], [1.0], [-1.0]]
    splits = {"trainval": range(5), "test": (5, 6)}
    write(vectors, [[1], [-1], [0], [0], [0], [1], [-1]], splits, ("ant",), "voc")
    assert result(run, "--c", "1")["value"] == 1
    write(vectors, [[1], [-1], [-1], [-1], [-1], [1], [-1]], splits, ("ant",), "voc")
    assert result(run, "--c", "1")["value"] == 0.5


@pytest.mark.parametrize("dimensions", [8, 400])
@pytest.mark.parametrize("length", [1, 300])
def test_top1_is_scikit_learns_on_the_plain_vectors(run: Run, dimensions: int, length: float) -> None:
    vectors, truth = clouds(150, dimensions, 1, 2.5 if dimensions == 8 else 7)
    write(vectors * length, one_hot(truth), {"train": range(90), "test": range(90, 150)})
    found = result(run, "--c", "2")
    expected = by_sklearn(vectors, truth, np.arange(90), np.arange(90, 150), 2.0) == truth[90:]
    assert found["measure"] == "top-1 accuracy"
    assert abs(found["value"] - expected.mean()) <= 1 / 60 + 1e-9  # at most one image on the border
    assert 0.4 < found["value"] < 1
    for label, row in enumerate(found["classes"]):
        assert abs(row["value"] - expected[truth[90:] == label].mean()) <= 1 / 20 + 1e-9


def test_val_stands_in_for_test(run: Run) -> None:
    vectors, truth = clouds(60, 10, 2, 0.1)
    write(vectors, one_hot(truth), {"train": range(30), "val": range(30, 60)})
    found = result(run, "--c", "1")
    assert (found["value"], found["train"], found["test"]) == (1, 30, 30)


def test_c_is_chosen_on_the_training_images_alone(run: Run) -> None:
    vectors, truth = clouds(120, 30, 3, 2.0)
    splits = {"train": range(60), "test": range(60, 120)}
    write(vectors, one_hot(truth), splits)
    first = result(run)
    rng = np.random.default_rng(0)
    vectors[60:] = rng.standard_normal((60, 30))
    truth[60:] = rng.integers(0, 3, 60)
    write(vectors, one_hot(truth), splits)
    second = result(run)
    assert first["rounds"][0]["validation"] == second["rounds"][0]["validation"]
    assert first["rounds"][0]["c"] == second["rounds"][0]["c"]
    assert first["value"] != second["value"]
    assert len(first["rounds"][0]["validation"]) == 5


def test_caltech_counts_rounds_and_is_repeatable(run: Run) -> None:
    vectors, truth = clouds(100, 20, 4, 3.0)  # classes of 34, 33 and 33 images
    write(vectors, one_hot(truth), {})
    options = ("--c", "1", "--train-images", "10", "--test-images", "15", "--rounds", "4")
    found = result(run, *options)
    values = [item["value"] for item in found["rounds"]]
    assert (found["protocol"], found["train"], found["test"], len(values)) == ("caltech", 30, 45, 4)
    assert found["value"] == pytest.approx(np.mean(values))
    assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert found["measure"] == "mean of the classes' accuracies"
    assert result(run, *options) == found
    assert [item["value"] for item in result(run, *options, "--seed", "1")["rounds"]] != values
    assert result(run, *options, "--rounds", "1")["deviation"] is None
    for number, value in enumerate(values):
        train, test = draw_split(truth, 10, 15, (0, number))
        hits = by_sklearn(vectors, truth, train, test, 1.0) == truth[test]
        assert abs(value - np.mean([hits[truth[test] == label].mean() for label in range(3)])) <= 1 / 45 + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(3, 20), min_size=2, max_size=5), st.integers(0, 99))
def test_drawn_splits(counts: list[int], seed: int) -> None:
    truth = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, test = draw_split(truth, 2, 7, (seed, 0))
    assert not set(train.tolist()) & set(test.tolist())
    for label, count in enumerate(counts):
        assert np.count_nonzero(truth[train] == label) == 2
        assert np.count_nonzero(truth[test] == label) == min(7, count - 2)
    again = draw_split(truth, 2, 7, (seed, 0))
    np.testing.assert_array_equal(np.concatenate([train, test]), np.concatenate(again))


# From images to the number


def test_from_image_folders_to_accuracy(here: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    write_network(here / "net.safetensors")
    for split, count in (("train", 12), ("val", 8)):
        for number, name in enumerate(CLASSES):
            (here / "set" / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = rng.integers(0, 60, (32, 32 + image % 3, 3))
                pixels[:, :, number] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(here / "set" / split / name / f"{image}.png")
    assert run("features", "set", "--weights", "net.safetensors", "--side", "32", "-q")[0] == 0
    code, out, err = run("probe")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["ant", "12", "8", "1.0000"] in lines
    assert ["top-1", "36", "24", "1.0000"] in lines
    assert lines[-1][:4] == ["split:", "top-1", "accuracy", "1.0000,"]
    code, out, _ = run("probe", "--protocol", "caltech", "--train-images", "5", "--rounds", "2", "--c", "1")
    assert code == 0
    assert out.splitlines()[-2].split() == ["mean", "1.0000"]
    assert "standard deviation 0.0000 between rounds" in out


def test_from_a_voc_data_set_to_map(here: Path, run: Run) -> None:
    build_voc(here / "voc", 40, per_image=2, difficult_every=7)
    write_network(here / "net.safetensors")
    assert run("features", "voc", "--weights", "net.safetensors", "--side", "96", "-q")[0] == 0
    code, out, err = run("probe")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["disc", "square", "triangle"]
    found = result(run)
    assert found["train"] == 30
    assert found["test"] == 10
    assert ["mAP", "30", "10", f"{found['value']:.4f}"] in [line.split() for line in out.splitlines()]
    assert found["value"] > 0.8  # chance is about the share of images with the class, 0.6


# What it refuses


def clouds_file(splits: dict[str, Sequence[int]], kind: str = "class folders") -> None:
    vectors, truth = clouds(60, 10, 5)
    write(vectors, one_hot(truth), splits, kind=kind)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--protocol", "voc2007"], 3, "no split 'trainval' (did you mean 'train'?); choose among train, test"),
        (["--test", "tset"], 3, "no split 'tset' (did you mean 'test'?)"),
        (["--test", "train"], 2, "30 images are both in split train and in split train"),
        (["--protocol", "caltech"], 3, "class ant has 20 images, too few to train on 30"),
        (["--protocol", "caltech", "--train", "train"], 2, "draws its images from all"),
        (["--protocol", "imagenet"], 2, "imagenet"),
        (["--c", "0"], 2, "'0' is not a number above zero"),
        (["--c", "some"], 2, "'some' is not a number above zero"),
        (["--features", "other.h5"], 3, "other.h5: there is no such file; run spp features first"),
    ],
)
def test_complaints(run: Run, arguments: list[str], exit_code: int, words: str) -> None:
    clouds_file({"train": range(30), "test": range(30, 60)})
    code, _, err = run("probe", *arguments)
    assert (code, words in err) == (exit_code, True), err


def test_images_without_labels(run: Run) -> None:
    write(np.ones((4, 2)), np.zeros((4, 0)), {}, (), "folder")
    code, _, err = run("probe")
    assert code == 3
    assert "its images have no labels to learn from; make it with spp features from a VOC data set or" in err


def test_several_classes_an_image(run: Run) -> None:
    write(np.ones((4, 2)), [[1, 1], [1, -1], [-1, 1], [1, 1]], {"train": (0, 1), "test": (2, 3)}, ("a", "b"), "voc")
    for protocol in ("split", "caltech"):
        code, _, err = run("probe", "--protocol", protocol)
        assert code == 3
        assert f"protocol {protocol} needs one class per image; use --protocol voc2007" in err


def test_no_splits(run: Run) -> None:
    clouds_file({})
    code, _, err = run("probe", "--protocol", "split")
    assert code == 3
    assert "its data set has no splits, and protocol split needs two; use --protocol caltech" in err


def test_a_class_that_was_never_shown(run: Run) -> None:
    vectors, truth = clouds(60, 10, 6)
    order = np.argsort(truth, kind="stable")
    splits = {"train": range(40), "test": range(40, 60)}
    write(vectors[order], one_hot(truth[order]), splits)
    code, _, err = run("probe")
    assert code == 3
    assert "no image of split train shows cow, so it cannot be learnt" in err


def test_one_class(run: Run) -> None:
    write(np.ones((4, 2)), np.ones((4, 1)), {"train": (0, 1), "test": (2, 3)}, ("a",))
    code, _, err = run("probe")
    assert code == 3
    assert "all images are of one class, a: there is nothing to tell apart" in err


def test_a_test_set_of_which_nothing_is_known(run: Run) -> None:
    vectors, truth = clouds(60, 10, 7)
    labels = one_hot(truth)
    labels[30:] = 0
    write(vectors, labels, {"trainval": range(30), "test": range(30, 60)}, kind="voc")
    code, _, err = run("probe")
    assert code == 3
    assert "no image of split test has a label" in err


def test_too_few_for_cross_validation(run: Run) -> None:
    write(np.eye(8), one_hot(np.arange(8) % 2, 2), {"train": range(4), "test": range(4, 8)}, ("a", "b"))
    code, _, err = run("probe")
    assert code == 3
    assert "4 training images are too few for cross-validation; give --c a number" in err
    assert run("probe", "--c", "1")[0] == 0
