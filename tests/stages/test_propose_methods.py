"""``spp propose --method``: edge-boxes with and without a model, both methods, and what detection makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.proposals import read_proposals
from sppcli.images import digest
from sppcli.proposals.edges import open_forest
from tests.conftest import Voc
from tests.proposals.forest import write_forest
from tests.stages.conftest import Run, Work

EDGES = ("--method", "edge-boxes", "--edges", "gradient")


@pytest.fixture
def here(voc: Voc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    monkeypatch.chdir(tmp_path)
    return voc


def test_edge_boxes_without_a_model(here: Voc, run: Run) -> None:
    code, out, err = run("propose", "voc", *EDGES, "--max-proposals", "60", "-j", "1")
    assert code == 0, err
    assert "8 images" in out
    stored = read_proposals(Path("proposals.h5"))
    assert stored.header.config["method"] == "edge-boxes"
    for i in range(8):
        boxes = stored.of(i)
        assert 0 < len(boxes) <= 60
        assert len(np.unique(boxes, axis=0)) == len(boxes)
        assert (np.diff(stored.scores_of(i)) <= 0).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes <= [128, 96, 128, 96]).all()
    # Neither processes nor what ran before change anything, and a second run has nothing to do.
    assert run("propose", "voc", *EDGES, "--max-proposals", "60", "-j", "2", "-o", "again.h5")[0] == 0
    np.testing.assert_array_equal(read_proposals(Path("again.h5")).boxes, stored.boxes)
    assert "up to date" in run("propose", "voc", *EDGES, "--max-proposals", "60")[1]


def test_without_a_model_one_sentence_says_where_it_is(here: Voc, run: Run) -> None:
    code, _, err = run("propose", "voc", "--method", "edge-boxes")
    assert code == 3
    assert err.count("\n") == 1
    assert "testdata/cv/ximgproc/model.yml.gz" in err
    assert "--edges gradient" in err
    code, _, err = run("propose", "voc", "--method", "edge-boxes", "--edge-model", "nix.yml.gz")
    assert code == 3
    assert "nix.yml.gz: there is no such edge model" in err
    Path("bad.yml.gz").write_text("no model")
    code, _, err = run("propose", "voc", "--method", "edge-boxes", "--edge-model", "bad.yml.gz")
    assert code == 3
    assert "bad.yml.gz: not a structured-forest edge model" in err
    assert not Path("proposals.h5").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--edges", "gradient"), "options of --method edge-boxes"),
        (("--edge-model", "x.yml"), "options of --method edge-boxes"),
        ((*EDGES, "--edge-model", "x.yml"), "leave one of them out"),
        (("--method", "edgeboxes"), "is not one of"),
    ],
)
def test_options_that_do_not_go_together(here: Voc, run: Run, options: tuple[str, ...], part: str) -> None:
    code, _, err = run("propose", "voc", *options)
    assert code == 2
    assert part in err


def test_edge_boxes_with_a_model_know_its_content(here: Voc, run: Run) -> None:
    model = write_forest(Path("model.yml.gz"))
    options = ("propose", "voc", "--method", "edge-boxes", "--edge-model", "model.yml.gz", "-j", "1")
    code, _, err = run(*options)
    assert code == 0, err
    stored = read_proposals(Path("proposals.h5"))
    assert stored.header.config["edge_model_digest"] == digest(model.read_bytes())
    assert stored.header.source["edge_model"] == str(model.absolute())
    assert len(stored.boxes) > 0
    assert "up to date" in run(*options)[1]
    # The same model elsewhere finds the same windows; another model is another search.
    before = stored.fingerprint
    model.rename("moved.yml.gz")
    assert run(*options[:5], "moved.yml.gz", "-o", "moved.h5")[0] == 0
    assert read_proposals(Path("moved.h5")).fingerprint == before
    write_forest(Path("model.yml.gz"), threshold=0.35)
    assert "up to date" not in run(*options)[1]
    assert read_proposals(Path("proposals.h5")).fingerprint != before


def test_both_methods_are_the_union_of_each(here: Voc, run: Run) -> None:
    assert run("propose", "voc", "--mode", "single", "-o", "ss.h5", "-j", "1")[0] == 0
    assert run("propose", "voc", *EDGES, "-o", "eb.h5", "-j", "1")[0] == 0
    both = ("--method", "selective-search", "--mode", "single", *EDGES)
    assert run("propose", "voc", *both, "-o", "both.h5", "-j", "1")[0] == 0
    # The same from the files, by another way.
    assert run("propose", "voc", "--import", "ss.h5", "--import", "eb.h5", "-o", "files.h5")[0] == 0
    one, two, union, files = (read_proposals(Path(f"{name}.h5")) for name in ("ss", "eb", "both", "files"))
    assert union.header.config["method"] == "selective-search + edge-boxes"
    for i in range(8):
        rows = [tuple(box) for box in union.of(i).tolist()]
        assert len(rows) == len(set(rows))
        assert set(rows) == {tuple(box) for part in (one, two) for box in part.of(i).tolist()}
        np.testing.assert_array_equal(union.of(i)[0], one.of(i)[0])
    np.testing.assert_array_equal(union.boxes, files.boxes)
    np.testing.assert_array_equal(union.scores, files.scores)


def test_selective_search_is_recorded_as_before_there_was_a_choice(here: Voc, run: Run) -> None:
    assert run("propose", "voc", "--mode", "single")[0] == 0
    config = read_proposals(Path("proposals.h5")).header.config
    assert not {"methods", "imports", "edge_model", "edge_model_digest"} & set(config)
    assert config["method"] == "selective-search"
    assert "up to date" in run("propose", "voc", "--method", "selective-search", "--mode", "single")[1]


def test_new_images_are_searched_by_the_method_of_the_training(work: Work, run: Run) -> None:
    """Edge-boxes windows with a forest, from training to a new image, which gets what it gets in the data set."""
    write_forest(Path("model.yml.gz"))
    model = ("--method", "edge-boxes", "--edge-model", "model.yml.gz")
    assert run("propose", "shapes", *model, "--max-proposals", "150", "-q", "-j", "1")[0] == 0
    assert run("extract", "-q", "--weights", "net.safetensors", "--scales", "96,160", "--precision", "fp32")[0] == 0
    assert run("train-svm", "-q")[0] == 0
    Path("bbox.h5").unlink()  # of other windows
    name = work.voc.splits["test"][0]
    code, _, err = run("detect", "--min-score", "0", "-o", "known.jsonl", "-q")
    assert code == 0, err
    known = [json.loads(line) for line in Path("known.jsonl").read_text().splitlines()]
    code, out, err = run("detect", f"shapes/JPEGImages/{name}.jpg", "-q")
    assert code == 0, err
    new = [json.loads(line) for line in out.splitlines()]
    assert len(new) > 0
    assert [item["box"] for item in new] == [item["box"] for item in known if item["image"] == name]
    # The model is no longer what it was.
    write_forest(Path("model.yml.gz"), threshold=0.4)
    open_forest.cache_clear()  # as another process would start
    code, _, err = run("detect", f"shapes/JPEGImages/{name}.jpg", "-q")
    assert code == 4
    assert "not the edge model that the proposals were found with" in err
