"""``--log tensorboard`` and ``--log mlflow``: event files and MLflow's store, read by their own programs."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sppcli.artefacts.networks import recorded_training
from sppcli.learn import multisize
from sppcli.runtime import trackers
from sppcli.runtime.options import RunOptions
from tests.conftest import Run, Voc
from tests.small_artefacts import write_detections
from tests.stages.conftest import Work
from tests.stages.test_train_net import SMALL, draw_folder

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
pytest.importorskip("mlflow", reason="mlflow is not installed")

Points = dict[tuple[str, int], list[float]]


def of_tensorboard(folder: Path) -> tuple[Points, str]:
    """Points of the only run there, and the text of its options."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    (run,) = folder.iterdir()
    found: Points = {}
    text = ""
    for file in sorted(run.iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.tag == "options":
                    text = make_ndarray(value.tensor).item().decode()
                else:
                    found.setdefault((value.tag, event.step), []).append(make_ndarray(value.tensor).item())
    return found, text


def of_mlflow(place: Path) -> tuple[Points, dict[str, str]]:
    """Points and parameters of the only run there."""
    from mlflow import MlflowClient

    client = MlflowClient(place.resolve().as_uri())
    experiment = client.get_experiment_by_name("spp")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    found: Points = {}
    for name in run.data.metrics:
        for item in client.get_metric_history(run.info.run_id, name):
            found.setdefault((name, item.step), []).append(item.value)
    return found, run.data.params


def once(points: Points) -> dict[tuple[str, int], float]:
    assert {key: len(values) for key, values in points.items() if len(values) != 1} == {}
    return {key: values[0] for key, values in points.items()}


@pytest.fixture
def work(trained: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("shapes", "proposals.h5", "features.h5", "net.safetensors"):
        (tmp_path / name).symlink_to(trained.folder / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


BOTH = ("--log", "tensorboard", "--log", "mlflow")


def test_interrupted_and_gone_on_each_point_is_there_once(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(here / "stripes", {"train": 8, "val": 4})
    arguments = ("train-net", "stripes", *SMALL, "--sizes", "26", "--epochs", "4", "--checkpoint", "0", *BOTH)
    close: Callable[[multisize._Training], None] = multisize._Training._close_epoch

    def interrupted(self: multisize._Training, size: int, rate: float) -> None:
        if self.at.epoch == 2:
            raise KeyboardInterrupt
        close(self, size, rate)

    with monkeypatch.context() as patch:
        patch.setattr(multisize._Training, "_close_epoch", interrupted)
        assert run(*arguments)[0] == 130
    half, _ = of_tensorboard(here / "tensorboard")
    assert sorted(step for curve, step in half if curve == "loss/train") == [1, 2]
    assert run(*arguments)[0] == 0
    with Path("network.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    points, text = of_tensorboard(here / "tensorboard")
    stored, parameters = of_mlflow(here / "mlruns")
    assert set(once(points)) == set(once(stored))
    names = {"loss/train", "accuracy/train", "error/validation", "rate", "input size"}
    assert set(points) == {(name, step) for name in names for step in range(1, 5)}
    for step, row in enumerate(rows, 1):
        for curve, column in (("loss/train", "loss"), ("error/validation", "validation_error")):
            assert once(points)[curve, step] == pytest.approx(float(row[column]), abs=1e-6)
            assert once(stored)[curve, step] == pytest.approx(float(row[column]), abs=1e-12)
    assert parameters["stage"] == "train-net"
    assert parameters["training.epochs"] == "4"
    assert "| training.epochs | 4 |" in text
    # Once more it is up to date, and nothing is added; made anew, it is the same run anew.
    assert run(*arguments)[0] == 0
    assert of_tensorboard(here / "tensorboard")[0] == points
    assert run(*arguments, "--force")[0] == 0
    again = once(of_tensorboard(here / "tensorboard")[0])
    assert set(again) == set(points)
    assert set(once(of_mlflow(here / "mlruns")[0])) == set(points)


def test_a_network_that_is_there_already_is_logged_too(work: Path, run: Run) -> None:
    arguments = ("finetune", "--iterations", "6", "--check", "3", "--batch", "16", "-q", "--weights", "net.safetensors")
    code, _, err = run(*arguments)
    assert code == 0, err
    assert not (work / "tensorboard").exists()
    assert run(*arguments, *BOTH)[0] == 0
    checks = recorded_training(work / "finetuned.safetensors")["summary"]["checks"]
    points, stored = once(of_tensorboard(work / "tensorboard")[0]), once(of_mlflow(work / "mlruns")[0])
    assert [check["step"] for check in checks] == [0, 3, 6]
    assert {step for curve, step in points if curve == "loss/train"} == {3, 6}
    for check in checks:
        assert stored["loss/validation", check["step"]] == check["validation_loss"]
        assert points["error/validation", check["step"]] == pytest.approx(check["validation_error"])


def test_linear_models_leave_their_figures(work: Path, run: Run) -> None:
    code, out, _ = run("train-svm", "--json", "-q", "--log", "tensorboard")
    assert code == 0
    points = once(of_tensorboard(work / "tensorboard")[0])
    for row in json.loads(out)["classes"]:
        assert points[f"positives/{row['name']}", 0] == row["positives"]
        assert points[f"negatives/{row['name']}", 0] == row["negatives"]
    code, out, _ = run("train-bbox", "--json", "-q", "--log", "mlflow")
    assert code == 0
    stored = once(of_mlflow(work / "mlruns")[0])
    for row in json.loads(out)["classes"]:
        assert stored[f"error_after/{row['name']}", 0] == row["error_after"]


@pytest.mark.parametrize("protocol", ["voc2007", "coco", "ilsvrc"])
def test_an_evaluation_leaves_its_ap(here: Path, voc: Voc, run: Run, protocol: str) -> None:
    found = {name: [(thing.label, thing.box, 0.9) for thing in voc.things[name]] for name in voc.ids[1:]}
    write_detections(Path("detections.h5"), voc, {voc.ids[0]: [], **found})
    arguments = ("evaluate", "--split", "all", f"--{protocol}", "--json", "-q")
    code, out, err = run(*arguments, *BOTH)
    assert (code, err) == (0, "")
    assert Path("runs.jsonl").exists()
    assert run(*arguments, *BOTH, "--log", "off")[0] == 0
    points, stored = once(of_tensorboard(here / "tensorboard")[0]), once(of_mlflow(here / "mlruns")[0])
    said = json.loads(out)
    assert stored["mAP", 0] == pytest.approx(said["AP"] if protocol == "coco" else said["mAP"])
    for name, value in said["ap"].items():
        assert points[f"AP/{name}", 0] == pytest.approx(value)
        assert stored[f"AP/{name}", 0] == pytest.approx(value)


def test_off_and_two_logs(here: Path, voc: Voc, run: Run) -> None:
    write_detections(Path("detections.h5"), voc, {name: [] for name in voc.ids})
    assert run("evaluate", "--split", "all", "-q", "--log", "off", "--log", "tensorboard")[0] == 0
    assert [path.name for path in here.iterdir() if path.name in ("runs.jsonl", "tensorboard")] == ["tensorboard"]
    code, _, err = run("evaluate", "--log", "a.jsonl", "--log", "b.jsonl")
    assert (code, "--log names one file, or off, beside tensorboard and mlflow; not a.jsonl, b.jsonl" in err) == (
        2,
        True,
    )
    code, _, err = run("evaluate", str(voc.root), "--results", "results", "--log", "mlflow")
    assert (code, "--log mlflow goes with --detections only" in err) == (2, True)


def test_the_settings_of_a_folder_reach_all(here: Path, voc: Voc, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_detections(Path("detections.h5"), voc, {name: [] for name in voc.ids})
    Path("spp.toml").write_text('[all]\nlog = "tensorboard"\n')
    assert run("evaluate", "--split", "all", "-q")[0] == 0
    assert (here / "tensorboard").is_dir()
    assert Path("runs.jsonl").exists()
    shutil.rmtree("tensorboard")
    monkeypatch.setenv("SPP_EVALUATE_LOG", "my runs.jsonl")
    assert run("evaluate", "--split", "all", "-q")[0] == 0
    assert Path("my runs.jsonl").exists()
    assert not (here / "tensorboard").exists()


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_missing_extra_is_said_before_any_work(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    for command in (("train-net", "nothing"), ("train-svm",), ("evaluate",)):
        code, out, err = run(*command, "--log", name)
        assert (code, out) == (3, "")
        assert f"--log {name} needs a package that is not installed: pip install 'sppcli[{name}]'" in err


def test_the_folder_that_is_written_passes_for_no_package(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "tracker_of_no_one").mkdir()
    monkeypatch.syspath_prepend(str(here))
    with pytest.raises(trackers.MissingInput):
        trackers.require(["tracker_of_no_one"])


class Told:
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.lines: list[str] = []

    def start(self, total: int, unit: str, found: int = 0) -> None: ...

    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None: ...

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


RUN = trackers.TrackedRun("train-net", Path("out/net.safetensors"), "0123456789abcdef", {"seed": 1})


def test_where_nothing_can_be_written_work_goes_on(here: Path) -> None:
    Path("tensorboard").write_text("in the way")
    Path("mlruns").write_text("in the way")
    told = Told()
    log = trackers.Log(RUN, RunOptions(trackers=trackers.TRACKERS, progress=told))
    for step in (1, 2):
        log.add([(step, {"loss": 1.0})])
    assert [line.split(":")[0] for line in told.warnings] == ["--log tensorboard", "--log mlflow"]
    assert all(line.endswith("going on without it") for line in told.warnings)


def test_odd_names_and_values(here: Path) -> None:
    told = Told()
    log = trackers.Log(RUN, RunOptions(trackers=trackers.TRACKERS, progress=told))
    log.add([(0, {"AP/Müller": 0.5, "AP/a/b": 0.25, "AP/..": 1.0, "AP/none": None, "AP/nan": float("nan")})])
    log.add([(0, {"AP/Müller": 0.7})], over=True)
    assert told.warnings == []
    assert once(of_tensorboard(here / "tensorboard")[0]) == {
        ("AP/Müller", 0): 0.5,
        ("AP/a/b", 0): 0.25,
        ("AP/..", 0): 1.0,
    }
    stored = once(of_mlflow(here / "mlruns")[0])
    assert Counter(stored.values()) == Counter((0.5, 0.25, 1.0))
    assert stored["AP/M_fcller", 0] == 0.5
    assert told.lines[0] == "logged to tensorboard/net-01234567; tensorboard --logdir tensorboard shows it"
    assert told.lines[1].startswith("logged to MLflow, run net-01234567 in file://")


def test_an_event_file_that_was_cut_is_gone_on_with(here: Path) -> None:
    log = trackers.Log(RUN, RunOptions(trackers=("tensorboard",)))
    log.add([(1, {"loss": 1.0}), (2, {"loss": 2.0})], over=True)
    (file,) = (here / "tensorboard" / "net-01234567").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    trackers.Log(RUN, RunOptions(trackers=("tensorboard",))).add([(1, {"loss": 1.0}), (2, {"loss": 2.0})], over=True)
    assert once(of_tensorboard(here / "tensorboard")[0]) == {("loss", 1): 1.0, ("loss", 2): 2.0}


def test_the_store_that_the_user_names_is_used(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (here / "elsewhere").as_uri())
    trackers.Log(RUN, RunOptions(trackers=("mlflow",))).add([(1, {"loss": 1.0})], over=True)
    assert not (here / "mlruns").exists()
    assert once(of_mlflow(here / "elsewhere")[0]) == {("loss", 1): 1.0}
