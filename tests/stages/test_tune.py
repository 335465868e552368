"""``spp tune``: what it tries, what it keeps, and what it writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from sppcli.cli.settings_file import changed
from sppcli.cli.tuning import GRID, Trial, Values, search, trials_of
from tests.conftest import Run
from tests.stages.conftest import Work

START = {"pyramid": "6,3,2,1", "c": "0.01", "nms": "0.3"}


def test_one_option_after_the_other_is_improved() -> None:
    def score(values: Values) -> float:
        return (values["pyramid"] == "3,2,1") + (values["nms"] == "0.4") - abs(float(values["c"]) - 0.1)

    rows: list[tuple[str, Trial]] = []
    best = search(score, START, GRID, lambda option, trial: rows.append((option, trial)))
    assert best == Trial({"pyramid": "3,2,1", "c": "0.1", "nms": "0.4"}, 2.0)
    assert len(rows) <= trials_of(GRID)
    assert len({tuple(trial.values.items()) for _, trial in rows}) == len(rows)  # nothing twice


def test_without_a_gain_nothing_changes() -> None:
    assert search(lambda values: 0.5, START, GRID, lambda option, trial: None) == Trial(START, 0.5)


def test_a_run_from_cached_maps(work: Work, run: Run) -> None:
    Path("spp.toml").write_text("[train-svm]\n# mine\nc = 0.000001 # too small\n", encoding="utf-8")
    before = {path.name: path.stat().st_mtime for path in work.folder.glob("*.h5")}
    code, out, err = run("tune", "--grid", "c=0.000001;0.01", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [float(trial["c"]) for trial in found["trials"]] == [0.000001, 0.01]
    assert found["mAP"] == max(trial["mAP"] for trial in found["trials"])
    assert {path.name: path.stat().st_mtime for path in work.folder.glob("*.h5")} == before
    assert not Path("tune").exists()


def test_what_is_better_is_written_and_what_was_there_stays(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sppcli.cli.tuning import Tuner

    monkeypatch.setattr(Tuner, "score", lambda self, values: float(values["nms"]) + float(values["c"]))
    Path("spp.toml").write_text("[all]\nseed = 3 # kept\n", encoding="utf-8")
    code, out, _ = run("tune", "--grid", "c=0.03", "--grid", "nms=0.4;0.2")
    assert code == 0
    assert "best: pyramid 6,3,2,1, c 0.03, nms 0.4, mAP 0.4300 on val, +0.1200" in out
    text = Path("spp.toml").read_text(encoding="utf-8")
    assert text == "[all]\nseed = 3 # kept\n\n[train-svm]\nc = 0.03\n\n[detect]\nnms = 0.4\n"
    assert run("tune", "--grid", "nms=0.5", "--no-write")[0] == 0
    assert Path("spp.toml").read_text(encoding="utf-8") == text


def test_usage(work: Work, run: Run) -> None:
    for text in ("c", "c=", "d=1"):
        code, _, err = run("tune", "--grid", text)
        assert (code, "such as 'c=0.01;0.1'" in err) == (2, True)
    code, _, err = run("tune", "--validation", "nowhere", "--grid", "c=1")
    assert (code, "nowhere" in err) == (3, True)
    Path("features.h5").unlink()
    code, _, err = run("tune")
    assert (code, "run spp extract first" in err) == (3, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[detect]\nnms = 0.4\n"),
        ("[detect]\nnms = 0.3\nsplit = 'val'\n", "[detect]\nnms = 0.4\nsplit = 'val'\n"),
        (
            "[detect] # mine\n\n[run]\nstages = ['detect']\n",
            "[detect] # mine\nnms = 0.4\n\n[run]\nstages = ['detect']\n",
        ),
        ("[run]\n# nms = 1\n", "[run]\n# nms = 1\n\n[detect]\nnms = 0.4\n"),
        ("[detect]\nnms-again = true\n", "[detect]\nnms = 0.4\nnms-again = true\n"),
    ],
)
def test_a_value_is_set_and_all_else_stays(before: str, after: str) -> None:
    text = changed(before, [("detect", "nms", 0.4)])
    assert text == after
    assert tomllib.loads(text)["detect"]["nms"] == 0.4
