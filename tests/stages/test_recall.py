"""``spp evaluate --proposals``: recall on the command line, as a table, as JSON and drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts.proposals import read_proposals
from sppcli.evaluation.recall import THRESHOLDS
from tests.conftest import Voc
from tests.evaluation.test_recall import slow_recall
from tests.small_artefacts import write_proposals
from tests.stages.conftest import Run


@pytest.fixture
def here(make_voc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    monkeypatch.chdir(tmp_path)
    voc: Voc = make_voc(8, difficult_every=5)
    write_proposals(Path("proposals.h5"), voc, per_image=60)
    return voc


def truth_of(voc: Voc, split: str):
    from sppcli.datasets import open_dataset

    dataset = open_dataset([voc.root])
    return {name: dataset.annotations(name) for name in dataset.split(split)}


def test_json_is_the_slow_recall(here: Voc, run: Run) -> None:
    code, out, err = run("evaluate", "--proposals", "proposals.h5", "--split", "trainval", "--json")
    assert code == 0, err
    result = json.loads(out)
    stored, truth = read_proposals(Path("proposals.h5")), truth_of(here, "trainval")
    windows = {name: stored.of(i) for i, name in enumerate(stored.images.ids)}
    (file,) = result["files"]
    assert file["windows"] == [10, 20, 50, 100, 200, 500, 1000, 2000, "all"]
    assert file["windows_per_image"] == 60
    assert result["objects"] == sum(int((~item.difficult).sum()) for item in truth.values()) > 0
    assert any(item.difficult.any() for item in truth.values())
    assert sum(one["objects"] for one in file["classes"].values()) == result["objects"]
    for label in (None, *file["classes"]):
        table = (file if label is None else file["classes"][label])["recall"]
        for threshold in THRESHOLDS:
            expected = [slow_recall(windows, truth, label, count, threshold) for count in (10, 20, 50, 10**6)]
            found = table[f"{threshold:g}"]
            np.testing.assert_allclose([*found[:3], found[-1]], expected, atol=1e-12)


def test_the_table_has_every_count_and_class(here: Voc, run: Run) -> None:
    """Window 0 of each image is its first object: of the test split's objects that share is found at any IoU."""
    code, out, err = run("evaluate", "--proposals", "--split", "test")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["file", "proposals"]
    assert lines[0].endswith("IoU 0.5  IoU 0.6  IoU 0.7  IoU 0.8  IoU 0.9     AR")
    assert [line.split()[1] for line in lines[1:10]] == ["10", "20", "50", "100", "200", "500", "1000", "2000", "all"]
    assert {line.split()[1] for line in lines[12:15]} == {"disc", "square", "triangle"}
    assert "60 proposals per image" in out
    truth = truth_of(here, "test")
    easy = sum(int((~item.difficult).sum()) for item in truth.values())
    first = sum(bool(len(item.difficult)) and not item.difficult[0] for item in truth.values())
    assert float(lines[1].split()[6]) >= round(first / easy, 3)
    assert f"{easy} objects in 2 images of test" in out


def test_several_files_are_compared_and_a_union_has_at_least_each(here: Voc, run: Run) -> None:
    assert run("propose", "voc", "--mode", "single", "-q", "-o", "ss.h5")[0] == 0
    assert run("propose", "voc", "--method", "edge-boxes", "--edges", "gradient", "-q", "-o", "eb.h5")[0] == 0
    assert run("propose", "voc", "--import", "ss.h5", "--import", "eb.h5", "-q", "-o", "both.h5")[0] == 0
    names = ("ss.h5", "eb.h5", "both.h5")
    options = [part for name in names for part in ("--proposals", name)]
    code, out, err = run("evaluate", *options, "--split", "all", "--json", "--plot", "recall.png")
    assert code == 0, err
    files = json.loads(out)["files"]
    assert [file["file"] for file in files] == list(names)
    assert [file["method"] for file in files] == [
        "selective-search",
        "edge-boxes",
        "imported (selective-search, edge-boxes)",
    ]
    for alone in files[:2]:
        assert files[2]["average_recall"][-1] >= alone["average_recall"][-1]
        for threshold, row in alone["recall"].items():
            assert files[2]["recall"][threshold][-1] >= row[-1]
    assert files[0]["recall"]["0.5"][-1] > 0.5  # shapes on a plain ground are found
    assert files[1]["recall"]["0.5"][-1] > 0.3
    with Image.open("recall.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # Curves in three colours on white: blue, vermilion, green.
    for colour in ((0, 114, 178), (213, 94, 0), (0, 158, 115)):
        assert (pixels == colour).all(axis=1).sum() > 100
    before = Path("recall.png").read_bytes()
    assert run("evaluate", *options, "--split", "all", "--plot", "recall.png")[0] == 0
    assert Path("recall.png").read_bytes() == before
    assert "matplotlib.pyplot" not in sys.modules


def test_the_data_set_may_have_moved(here: Voc, run: Run) -> None:
    here.root.rename("moved")
    code, _, err = run("evaluate", "--proposals", "proposals.h5")
    assert code == 3
    assert "are no longer there; give the folder first" in err
    code, out, _ = run("evaluate", "moved", "--proposals", "proposals.h5")
    assert code == 0
    assert "images of test" in out


def test_images_without_windows_are_warned_of_and_count_as_missed(here: Voc, run: Run) -> None:
    name = here.splits["test"][0]
    Path("w.csv").write_text(f"image,x0,y0,x1,y1\n{name},0,0,128,96\n")
    assert run("propose", "voc", "--import", "w.csv", "-o", "w.h5", "-q")[0] == 0
    code, _, err = run("evaluate", "--proposals", "w.h5")
    assert code == 0
    assert (
        f"w.h5 lacks 1 image of split test, whose objects count as missed, the first: {here.splits['test'][1]}" in err
    )
    code, _, err = run("evaluate", "--proposals", "w.h5", "--split", "train")
    assert code == 3
    assert "w.h5 covers no image of split train" in err


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (("--proposals", "nix.h5"), 3, "nix.h5: there is no such file; run spp propose first"),
        (("--proposals", "proposals.h5", "--split", "tset"), 3, "did you mean 'test'"),
        (("--proposals", "proposals.h5", "--plot", "r.jpg"), 3, "r.jpg: the plot is a PNG"),
        (("--proposals", "proposals.h5", "--plot", "no/r.png"), 3, "the folder no does not exist"),
        (("--plot", "r.png"), 2, "give --proposals too"),
        (("voc", "--proposals", "proposals.h5", "--results", "results"), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_evaluated(here: Voc, run: Run, options: tuple[str, ...], code: int, part: str) -> None:
    found, _, err = run("evaluate", *options)
    assert found == code
    assert part in err
    assert not list(Path().glob("**/*.tmp"))
