"""``spp tune``: what it tries, what it keeps, and what it writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from sppcli.artefacts.calibration import read_calibration
from sppcli.cli import chain
from sppcli.cli.settings_file import changed
from sppcli.cli.tuning import GRID, OPTIONS, Effect, Trial, Tuner, Values, effects, in_toml, search, trials_of
from sppcli.report.tune_plot import draw_effects
from sppcli.stages import calibrate
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
    # The pyramid is the network's own, which spp train-svm takes.
    assert "best: pyramid 4,2,1, c 0.03, nms 0.4, mAP 0.4300 on val, +0.1200" in out
    text = Path("spp.toml").read_text(encoding="utf-8")
    assert text == "[all]\nseed = 3 # kept\n\n[train-svm]\nc = 0.03\n\n[detect]\nnms = 0.4\n"
    assert run("tune", "--grid", "nms=0.5", "--no-write")[0] == 0
    assert Path("spp.toml").read_text(encoding="utf-8") == text


def test_cross_validation_with_seeds_and_a_plot(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[object] = []
    in_folds = calibrate.in_folds
    monkeypatch.setattr(calibrate, "in_folds", lambda *given: trained.append(given) or in_folds(*given))
    arguments = ("--grid", "c=0.000001;0.01", "--split", "trainval", "--folds", "2", "--seeds", "2")
    code, out, err = run("tune", *arguments, "--plot", "tune.png", "--no-write", "--json")
    assert code == 0, err
    # Once for each trial and seed; the thresholds at the end are of one of these.
    assert len(trained) == 4
    found = json.loads(out)
    start, other = found["trials"]
    assert (float(start["c"]), float(other["c"]), found["seeds"]) == (0.01, 0.000001, [0, 1])
    assert found["best"]["c"] == "0.01"
    assert 0 <= other["mAP"] < start["mAP"] <= 1
    assert start["deviation"] is not None
    assert found["effects"] == {"c": pytest.approx(start["mAP"] - other["mAP"])}
    # As by hand: what models of the other fold find in each fold, here of the first seed.
    assert set(found["thresholds"]) == {"disc", "square", "triangle"}
    assert run("train-svm", "--c", "0.01", "-q", "--force")[0] == 0
    assert run("calibrate", "--folds", "2", "-q")[0] == 0
    held = read_calibration(Path("calibration.h5"))
    thresholds = dict(zip(held.calibration.classes, held.calibration.thresholds.tolist(), strict=True))
    assert {name: one["threshold"] for name, one in found["thresholds"].items()} == pytest.approx(thresholds)
    with Image.open("tune.png") as picture:
        assert picture.info["Software"] == "spp"
    assert not Path("spp.toml").exists()


def test_options_of_all_kinds_reach_the_commands(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(chain, "quietly", lambda root, name, given: told.append((name, list(given))) or '{"mAP": 1}')
    values = {"features": "other.h5", "layer": "pool5", "pyramid": "2,1", "flip": "yes", "jitter": "4"}
    tuner = Tuner(None, work.folder, "train", "val", "voc2010")  # type: ignore[arg-type]
    assert set(values) | {"c", "nms"} == set(OPTIONS)
    tuner.score({**values, "c": "0.1", "nms": "0.4"})
    given = {name: " ".join(arguments) for name, arguments in told}
    models = "--split train --seed 0 --features other.h5 --layer pool5 --pyramid 2,1 --flip"
    assert given["train-svm"].startswith(f"{models} --jitter 4 --c 0.1 -o ")
    assert given["train-bbox"].startswith(f"{models} -o ")
    assert "--features other.h5 --nms 0.4 --split val" in given["detect"]
    told.clear()
    tuner.score({**values, "flip": "no", "layer": "fc6", "c": "0.1", "nms": "0.4"})
    assert "--layer fc6 --jitter 4" in " ".join(told[0][1])  # fc layers have the pyramid of their network
    assert [in_toml(name, value) for name, value in values.items()] == ["other.h5", "pool5", "2,1", True, 4]


def test_what_mattered_is_what_an_option_did_alone() -> None:
    values = {"c": "1", "nms": "0.3"}
    rows = [
        ("", Trial(values, 0.5)),
        ("c", Trial({**values, "c": "2"}, 0.7, 0.01)),
        ("c", Trial({**values, "c": "3"}, 0.4)),
        ("nms", Trial({"c": "2", "nms": "0.4"}, 0.65)),
    ]
    assert effects(rows) == [
        Effect("c", (("1", 0.5, None), ("2", 0.7, 0.01), ("3", 0.4, None)), "2"),
        Effect("nms", (("0.3", 0.7, 0.01), ("0.4", 0.65, None)), "0.3"),
    ]
    assert [round(one.size, 6) for one in effects(rows)] == [0.3, 0.05]


def test_the_pyramid_is_not_varied_below_fc_layers() -> None:
    start = {"layer": "pool5", "pyramid": "2,1"}
    tried: list[str] = []
    grid = {"layer": ("fc6",), "pyramid": ("3,2,1",)}
    search(lambda values: float(values["layer"] == "fc6"), start, grid, lambda option, trial: tried.append(option))
    assert tried == ["", "layer"]


def test_a_gain_within_the_spread_is_called_chance(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tuner, "score", lambda self, values: 0.5 + float(values["nms"]) / 100)
    monkeypatch.setattr(Tuner, "spread", lambda self, values: 0.01)
    code, out, err = run("tune", "--grid", "nms=0.4", "--seeds", "2", "--no-write", "-q")
    assert code == 0
    assert "what mattered" in out
    assert "the gain is smaller than the deviation over seeds, 0.0100: it may be chance" in " ".join(err.split())


def test_the_plot_has_a_panel_for_each_option(tmp_path: Path) -> None:
    one = ("c", [("1", 0.5, None), ("0.1", 0.7, 0.02)], "0.1")
    draw_effects(tmp_path / "one.png", [one], "mAP")
    draw_effects(
        tmp_path / "two.png", [one, ("features", [("a/very/long/path/of/features.h5", 0.6, None)], "x")], "mAP"
    )
    with Image.open(tmp_path / "one.png") as single, Image.open(tmp_path / "two.png") as double:
        assert double.size[0] > single.size[0]
        assert double.size[1] == single.size[1]


def test_usage(work: Work, run: Run) -> None:
    for text in ("c", "c=", "d=1"):
        code, _, err = run("tune", "--grid", text)
        assert (code, "such as 'c=0.01;0.1'" in err) == (2, True)
    code, _, err = run("tune", "--validation", "nowhere", "--grid", "c=1")
    assert (code, "nowhere" in err) == (3, True)
    for more, said in (
        (("--validation", "test"), "nothing may be chosen on those"),
        (("--split", "trainval"), "they are trained on"),
        (("--split", "all", "--folds", "3"), "nothing may be chosen on those"),
        (("--grid", "flip=maybe"), "flip is no or yes"),
    ):
        code, _, err = run("tune", *more)
        assert (code, said in " ".join(err.split())) == (2, True), more
    assert run("tune", "--plot", "tune.pdf")[0] == 3
    Path("tune.png").write_text("mine")
    assert run("tune", "--plot", "tune.png")[0] == 2
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
