"""How a stage is run is no part of what made its output: another device or number of processes leaves it current."""

from __future__ import annotations

import importlib
import json
import pkgutil
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import sppcli
from sppcli.learn.checkpoints import Checkpoints
from sppcli.runtime.options import RunOptions
from tests.stages.conftest import SCALES, Run, Work
from tests.stages.test_train_net import SMALL, draw_folder

EXTRACT = ("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32")
RCNN = ("extract", "--weights", "net.safetensors", "--method", "rcnn", "--precision", "fp32", "-o", "rcnn.h5")
FINETUNE = ("finetune", "--iterations", "20", "--batch", "16", "--check", "5")
FEATURES = ("features", "shapes", "--weights", "net.safetensors", "--precision", "fp32", "--side", "64")


@pytest.mark.parametrize(
    ("arguments", "otherwise"),
    [
        (("propose", "shapes"), ("-j", "2")),
        (EXTRACT, ("--device", "cpu")),
        (EXTRACT, ("--batch", "3")),
        (RCNN, ("--batch", "5")),
        (("train-svm", "--layer", "fc6", "--precision", "fp32"), ("--device", "cpu")),
        (("train-bbox", "--layer", "fc6", "--precision", "fp32"), ("--device", "cpu")),
        (FINETUNE, ("--device", "cpu")),
        (("detect",), ("--device", "cpu")),
        (("detect",), ("-j", "2")),
        (FEATURES, ("--device", "cpu")),
        (FEATURES, ("--batch", "3")),
        (("train-net", "stripes", *SMALL), ("--device", "cpu")),
        (("train-net", "stripes", *SMALL), ("--cache", "200M")),
    ],
)
def test_it_is_current_however_it_is_run(
    arguments: tuple[str, ...], otherwise: tuple[str, ...], work: Work, run: Run
) -> None:
    if arguments[0] == "train-net":
        draw_folder(Path("stripes"), {"train": 8, "val": 4})
    code, _, err = run(*arguments, "-q", "--json")
    assert code == 0, err
    code, out, err = run(*arguments, *otherwise, "-q", "--json")
    assert code == 0, err
    assert json.loads(out)["up_to_date"]


@pytest.mark.parametrize("arguments", [FINETUNE, ("train-net", "stripes", *SMALL)])
def test_a_checkpoint_is_gone_on_with_on_another_device(
    arguments: tuple[str, ...], work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(Path("stripes"), {"train": 8, "val": 4})
    assert run(*arguments, "-o", "undisturbed.safetensors")[0] == 0
    save, load = Checkpoints.save, Checkpoints.load
    found = []

    def save_and_stop(self: Checkpoints, *what: object, milestone: bool) -> None:
        self.seconds = 0
        save(self, *what, milestone=milestone)  # type: ignore[arg-type]
        if milestone:
            raise KeyboardInterrupt

    def load_and_tell(self: Checkpoints) -> object:
        found.append(load(self))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        assert run(*arguments, "-o", "stopped.safetensors")[0] == 130
    assert Path("stopped.safetensors.checkpoint").exists()
    monkeypatch.setattr(Checkpoints, "load", load_and_tell)
    code, _, err = run(*arguments, "--device", "cpu", "-o", "stopped.safetensors")
    assert code == 0, err
    assert [kept is not None for kept in found] == [True]
    one, other = load_file("undisturbed.safetensors"), load_file("stopped.safetensors")
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_no_config_holds_how_a_stage_is_run() -> None:
    """Of a stage's config everything goes into the fingerprint; what must not lies in `RunOptions`."""
    how = {item.name for item in fields(RunOptions)}
    configs = {}
    for found in pkgutil.walk_packages(sppcli.__path__, "sppcli."):
        if ".bench" in found.name or found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if is_dataclass(value) and name.endswith(("Config", "Settings")):
                configs[name] = {item.name for item in fields(value)}
    assert len(configs) > 15
    assert {name: names & how for name, names in configs.items() if names & how} == {}
