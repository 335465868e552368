"""spp finetune through the command line, and its parts: what is drawn, what is kept, that it resumes exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from sppcli.artefacts.networks import recorded_training
from sppcli.cli.main import main
from sppcli.images import Normalisation
from sppcli.learn.checkpoints import Checkpoints, Tensors
from sppcli.learn.finetune import Candidates, FinetuneConfig, Windows, draw_round, finetune, judge
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weights import load_network
from tests.stages.conftest import Work

QUICK = ("--iterations", "60", "--batch", "32", "--check", "20", "-q")


@pytest.fixture
def work(trained: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("proposals.h5", "features.h5", "net.safetensors"):
        shutil.copy(trained.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_json(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_trunk_stays_and_the_windows_are_told_apart(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = run_json(capsys, ["finetune", "--iterations", "200", "--rate", "0.02", "--check", "50", "-q"])
    assert summary["images"] + summary["validation_images"] == 12
    first, last = summary["checks"][0], summary["checks"][-1]
    assert first["validation_loss"] == pytest.approx(np.log(4), abs=0.05)  # three classes and the background
    assert last["validation_loss"] < 0.8 * first["validation_loss"]
    best = min(check["validation_loss"] for check in summary["checks"])
    kept = next(check for check in summary["checks"] if check["step"] == summary["best"])
    assert kept["validation_loss"] == best
    before, after = load_file("net.safetensors"), load_file("finetuned.safetensors")
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith("trunk."), name
    assert load_network("finetuned.safetensors").digest == load_network("net.safetensors").digest
    for command in (
        ["train-svm", "--layer", "fc6", "--weights", "finetuned.safetensors"],
        ["train-bbox", "--layer", "fc6", "--weights", "finetuned.safetensors"],
        ["detect"],
        ["evaluate"],
    ):
        assert main([*command, "-q"]) == 0
    assert run_json(capsys, ["evaluate", "-q"])["mAP"] > 0.7
    # From another folder the models find their network again.
    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["detect", "--model", "..", "--proposals", "../proposals.h5", "-o", "d.h5", "-q"]) == 0


def test_again_it_is_up_to_date_and_other_options_are_not(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run_json(capsys, ["finetune", *QUICK])["up_to_date"]
    assert run_json(capsys, ["finetune", *QUICK])["up_to_date"]
    assert not run_json(capsys, ["finetune", *QUICK, "--seed", "1"])["up_to_date"]
    assert not run_json(capsys, ["finetune", *QUICK, "--seed", "1", "--force"])["up_to_date"]


def test_which_optimiser_and_schedule(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rates(*options: str) -> list[float]:
        summary = run_json(capsys, ["finetune", "--iterations", "6", "--check", "1", "--force", "-q", *options])
        return [check["rate"] for check in summary["checks"][1:]]

    # The network has an fc layer, so it is tuned with SGD; the last sixth of the mini-batches at a tenth.
    assert rates() == pytest.approx([1e-3] * 5 + [1e-4])
    assert rates("--optimizer", "adamw") == pytest.approx([3e-4] * 5 + [3e-5])
    assert rates("--rate", "0.01", "--recipe", "paper") == pytest.approx([1e-2] * 5 + [1e-3])
    # Fewer mini-batches than the recipe's keep its rates, each for its share.
    assert rates("--recipe", "paper") == pytest.approx([1e-4] * 5 + [1e-5])
    assert rates("--recipe", "release") == pytest.approx([1e-3] * 2 + [1e-4] * 2 + [1e-5] * 2)
    assert rates("--recipe", "release", "--rate", "0.02") == pytest.approx([0.02] * 2 + [0.002] * 2 + [0.0002] * 2)
    training = recorded_training(Path("finetuned.safetensors"))
    assert (training["config"]["recipe"], training["config"]["windows"]["scale_rule"]) == ("release", "side")
    assert (training["config"]["optimiser"], training["config"]["even_classes"]) == ("sgd", False)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--validation", "trainval"], 2, "are in split trainval and in trainval"),
        (["--validation", "tset"], 3, "did you mean 'test'?"),
        (["--split", "nothing"], 3, "has no split 'nothing'"),
        (["--weights", "gone.safetensors"], 3, "gone.safetensors: there is no such weights file"),
        (["--pyramid", "5"], 2, "reads a pyramid of 4,2,1"),
    ],
)
def test_what_cannot_be_fine_tuned(
    work: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    assert main(["finetune", "-q", *options]) == code
    assert message in capsys.readouterr().err
    assert not Path("finetuned.safetensors").exists()


def test_features_of_windows_are_no_maps(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "--method", "rcnn", "--weights", "net.safetensors", "-o", "rcnn.h5", "-q"]) == 0
    assert main(["finetune", "--features", "rcnn.h5", *QUICK]) == 2
    assert "rcnn.h5 holds R-CNN's features of single regions, not conv maps" in capsys.readouterr().err


# --- what is drawn ---


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 60), st.sampled_from([4, 8, 128]), st.integers(1, 6), st.integers(0, 99))
def test_a_quarter_of_each_batch_shows_objects(
    foreground: int, background: int, batch: int, batches: int, seed: int
) -> None:
    def some(count: int, label: int) -> Candidates:
        rows = np.arange(count, dtype=np.int64)
        return Candidates(rows // 7, rows, np.full(count, label, np.int64))

    objects, rest = some(foreground, 1), some(background, 0)
    drawn = draw_round(objects, rest, batch, batches, np.random.default_rng(seed))
    labels = drawn.labels.reshape(batches, batch)
    assert (labels.sum(axis=1) == (batch // 4 if background else batch)).all()
    for label, of in ((1, objects), (0, rest)):
        mine = drawn.window[drawn.labels == label]
        counts = np.bincount(mine, minlength=len(of.labels))
        if len(of.labels):
            # Every window is drawn as often as any other, but for the last lap.
            assert counts.max() - counts.min() <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([4, 8, 32]), st.integers(1, 6), st.data())
def test_classes_are_drawn_as_often(sizes: list[int], batch: int, batches: int, data: st.DataObject) -> None:
    labels = np.repeat(np.arange(len(sizes)) + 1, sizes).astype(np.int64)
    rows = np.arange(len(labels), dtype=np.int64)
    objects = Candidates(rows // 3, rows, labels)
    rest = Candidates(rows, rows + 100, np.zeros_like(labels))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    drawn = draw_round(objects, rest, batch, batches, rng, evenly=True)
    counts = np.bincount(drawn.labels, minlength=len(sizes) + 1)
    assert counts[0] == batches * batch * 3 // 4
    assert counts[1:].max() - counts[1:].min() <= 1
    for label in range(1, len(sizes) + 1):
        # Within a class, every window as often as any other, but for the last lap.
        mine = np.bincount(drawn.window[drawn.labels == label], minlength=len(labels))[labels == label]
        assert mine.max() - mine.min() <= 1
    assert np.array_equal(objects.labels[drawn.window[drawn.labels > 0]], drawn.labels[drawn.labels > 0])


# --- training ---


def small_model() -> SppClassifier:
    torch.manual_seed(3)
    plain = Normalisation((0.5,) * 3, (0.25,) * 3)
    return SppClassifier(Architecture("small", (Layer("conv", 3, 1, 1, 4),), (2, 1), (12,), ("-", "a", "b"), plain, 8))


class Drawn:
    """Windows of three clouds, two mini-batches a round."""

    batches = 2

    def draw(self, number: int) -> Windows:
        rng = np.random.default_rng(number)
        labels = rng.integers(0, 3, 32)
        centres = np.eye(3, 20)[labels] * 3
        return Windows((centres + rng.normal(size=(32, 20))).astype(np.float16), labels)


class Stopped(Exception):
    pass


class Stopping(Checkpoints):
    def __init__(self, path: Path, step: int) -> None:
        super().__init__(path, "same", seconds=0)
        self.end = step

    def save(self, position: Callable[[], dict], tensors: Callable[[], Tensors], *, milestone: bool) -> None:
        if position()["step"] == self.end:
            raise Stopped
        super().save(position, tensors, milestone=milestone)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("step", [1, 2, 5, 8, 11])
def test_killed_at_any_step_it_ends_with_the_same_weights(step: int, optimiser: str, tmp_path: Path) -> None:
    config = FinetuneConfig(schedule=((8, 0.1), (4, 0.01)), batch=16, optimiser=optimiser, check=3, seed=1)
    held = Drawn().draw(99)
    undisturbed, resumed = small_model(), small_model()
    history, best = finetune(undisturbed, Drawn(), held, config)
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        finetune(small_model(), Drawn(), held, config, keeper=Stopping(path, step))
    again, other = finetune(resumed, Drawn(), held, config, keeper=Checkpoints(path, "same"))
    assert (history, best) == (again, other)
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_the_best_weights_on_the_validation_windows_are_kept() -> None:
    config = FinetuneConfig(schedule=((30, 0.1),), batch=16, check=5)
    model, held = small_model(), Drawn().draw(99)
    history, best = finetune(model, Drawn(), held, config)
    assert [check.step for check in history] == [0, 5, 10, 15, 20, 25, 30]
    lowest = min(history, key=lambda check: check.validation_loss)
    assert lowest.step == best > 0
    assert judge(model, held, torch.device("cpu"))[0] == pytest.approx(lowest.validation_loss)
    assert [FinetuneConfig(schedule=((2, 1.0), (1, 0.1))).rate_at(step) for step in range(3)] == [1.0, 1.0, 0.1]
