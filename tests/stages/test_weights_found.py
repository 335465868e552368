"""Weights as people save them, through ``spp features``: wrapped, prefixed, cut down, in half precision, or misfits."""

from __future__ import annotations

import argparse
import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sppcli.artefacts.image_features import read_image_features
from tests.conftest import Run

State = dict[str, Any]


def state_of(name: str, seed: int = 0, **options: Any) -> State:
    """What ``torchvision`` makes of ``name``, its weights drawn by ``seed``."""
    torch.manual_seed(seed)
    more = {"init_weights": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **more, **options).state_dict()


@pytest.fixture(scope="module")
def squeezenet() -> State:
    return state_of("squeezenet1_1")


@pytest.fixture(scope="module")
def resnet() -> State:
    return state_of("resnet18")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("p").mkdir()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save("p/a.png")
    return tmp_path


@pytest.fixture
def features(here: Path, run: Run) -> Callable[..., tuple[int, np.ndarray | None, str]]:
    """``features("w.pth", …)``: exit code, the vectors, standard error."""

    def read(weights: str, *more: str) -> tuple[int, np.ndarray | None, str]:
        options = ("--side", "64", "--pyramid", "1", "--precision", "fp32", "--force", "-o", "f.h5", *more)
        code, _, err = run("features", "p", "--weights", weights, *options)
        return code, read_image_features(Path("f.h5")).vectors if code == 0 else None, err

    return read


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: value for name, value in state.items()}


WRAPPED: dict[str, Callable[[State], Any]] = {
    **{
        key: lambda state, key=key: {"epoch": 3, key: state, "loss": 0.5}
        for key in ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "ema", "anything")
    },
    "twice": lambda state: {"checkpoint": {"meta": "text", "model": state}},
    "in a list": lambda state: [state, {"lr": 0.1}],
    "beside its optimizer": lambda state: {
        "net": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(64, 3, 3, 3), "step": torch.tensor(3.0)}}},
        "best_acc1": torch.tensor(1.0),
    },
    "beside its average": lambda state: {
        "state_dict_ema": {name: value + 1 for name, value in state.items()},
        "state_dict": state,
    },
    "of MoCo": lambda state: {
        "state_dict": prefixed("module.encoder_q.")(state)
        | prefixed("module.encoder_k.")({name: value + 1 for name, value in state.items()})
    },
    "twice the same": lambda state: {"a": state, "b": {name: value.clone() for name, value in state.items()}},
    "with options": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    "with NumPy's numbers": lambda state: {"state_dict": state, "best": np.float64(0.5), "table": np.arange(4)},
    **{
        f"prefix {prefix}": prefixed(prefix)
        for prefix in (
            "module.",
            "_orig_mod.",
            "_orig_mod.module.",
            "module._orig_mod.",
            "model.",
            "backbone.",
            "encoder.",
            "model.backbone.",
            "module.model.encoder.",
            "backbone.body.",
        )
    },
    "inner module": lambda state: {
        name.replace("features.", "features.module.", 1): value for name, value in state.items()
    },
    "features alone": lambda state: {
        name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")
    },
    "features alone, prefixed": lambda state: {
        name.replace("features.", "backbone.", 1): value
        for name, value in state.items()
        if name.startswith("features.")
    },
    "children by number": lambda state: {
        name.replace("features.", "0.", 1).replace("classifier.", "1.", 1): value for name, value in state.items()
    },
    "no last layer": lambda state: {name: value for name, value in state.items() if "classifier" not in name},
    "another last layer": lambda state: {
        **state,
        "classifier.1.weight": torch.zeros(10, 512, 1, 1),
        "classifier.1.bias": torch.zeros(10),
    },
    "a head of its own": lambda state: {
        **{f"backbone.{name}": value for name, value in state.items() if "classifier" not in name},
        "head.0.weight": torch.zeros(3, 512),
    },
    "pickled whole": lambda state: _whole(state),
    "float64": lambda state: {name: value.double() for name, value in state.items()},
}


def _whole(state: State) -> nn.Module:
    model = torchvision.models.squeezenet1_1(weights=None)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("what", WRAPPED)
def test_every_wrapping_gives_the_same_features(squeezenet: State, features: Any, what: str) -> None:
    torch.save(squeezenet, "plain.pth")
    code, expected, err = features("plain.pth", "--backbone", "squeezenet1_1")
    assert (code, "warning" in err) == (0, False)
    torch.save(WRAPPED[what](squeezenet), "w.pth")
    code, found, err = features("w.pth", "--backbone", "squeezenet1_1")
    assert code == 0, err
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("ending", "legacy"),
    [
        *((ending, False) for ending in (".th", ".pth.tar", ".bin", ".ckpt", ".PTH", ".7f0a")),
        (".pth", True),
        (".tar", True),
    ],
)
def test_every_ending(squeezenet: State, features: Any, ending: str, legacy: bool) -> None:
    value = {"state_dict": squeezenet, "args": argparse.Namespace(lr=0.1)}
    torch.save(value, f"w{ending}", _use_new_zipfile_serialization=not legacy)
    assert features(f"w{ending}")[0] == 0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".bin"])
def test_half_precision(squeezenet: State, features: Any, kind: torch.dtype, ending: str) -> None:
    half = {f"model.{name}": value.to(kind) for name, value in squeezenet.items()}
    if ending == ".pth":
        torch.save({"ema": half}, "w.pth")
    else:  # safetensors under any name
        save_file(half, f"w{ending}")
    rounded = {name: value.to(kind).float() for name, value in squeezenet.items()}
    torch.save(rounded, "plain.pth")
    expected = features("plain.pth", "--backbone", "squeezenet1_1")[1]
    code, found, err = features(f"w{ending}")
    assert code == 0, err
    assert np.array_equal(found, expected)


RESNETS: dict[str, Callable[[State], Any]] = {
    "no counters": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    "another last layer": lambda state: {**state, "fc.weight": torch.zeros(3, 512), "fc.bias": torch.zeros(3)},
    "layers by number": lambda state: {
        name.replace(old, new, 1): value
        for old, new in {
            "conv1.": "0.",
            "bn1.": "1.",
            **{f"layer{i}.": f"{i + 3}." for i in range(1, 5)},
        }.items()
        for name, value in state.items()
        if name.startswith(old)
    },
    "in a detector": lambda state: {
        **{f"backbone.body.{k}": v for k, v in state.items() if not k.startswith("fc.") and "num_b" not in k},
        "backbone.fpn.inner_blocks.0.0.weight": torch.zeros(256, 64, 1, 1),
        "rpn.head.conv.0.0.weight": torch.zeros(8, 8, 3, 3),
    },
}


@pytest.mark.parametrize("what", RESNETS)
def test_residual_networks(resnet: State, features: Any, what: str) -> None:
    torch.save(resnet, "plain.pth")
    expected = features("plain.pth", "--backbone", "resnet18")[1]
    torch.save(RESNETS[what](resnet), "w.pth")
    code, found, err = features("w.pth")
    assert code == 0, err
    assert "recognised as resnet18" in err
    assert np.array_equal(found, expected)


def zeros_like(name: str) -> State:
    """Zeros in place of the weights of torchvision's ``name``."""
    more = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        state = torchvision.models.get_model(name, weights=None, **more).state_dict()
    return {k: torch.zeros(v.shape, dtype=torch.float16) for k, v in state.items()}


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0", "resnet50", "googlenet", "mobilenet_v3_large"])
def test_each_backbone_is_recognised(features: Any, name: str) -> None:
    torch.save({"net": zeros_like(name)}, "w.pth")
    code, _, err = features("w.pth")
    assert code == 0, err
    assert f"w.pth: recognised as {name}, from net" in err


def test_what_is_left_out_is_said(squeezenet: State, features: Any) -> None:
    ten = {**squeezenet, "classifier.1.weight": torch.zeros(10, 512, 1, 1), "classifier.1.bias": torch.zeros(10)}
    torch.save({"model_state_dict": prefixed("module.")(ten), "momentum": {"a": torch.zeros(2)}}, "w.pth")
    code, _, err = features("w.pth", "--backbone", "squeezenet1_1")
    assert code == 0
    assert "warning: w.pth: read as squeezenet1_1, from model_state_dict; left out: classifier.1, momentum" in err


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("resnet34", None), ("resnet34", "resnet18"), ("resnext50_32x4d", "resnet50"), ("shufflenet_v2_x0_5", None)],
)
def test_networks_that_only_begin_alike_are_refused(features: Any, name: str, backbone: str | None) -> None:
    """resnet34 has every tensor of resnet18, and more between them."""
    torch.save(zeros_like(name), "w.pth")
    code, _, err = features("w.pth", *(("--backbone", backbone) if backbone else ()))
    assert code == 3, err
    expected = f"not {backbone}'s weights (" if backbone else "the weights fit none of alexnet, vgg16"
    assert f"w.pth: {expected}" in err
    assert "is missing" in err or "is not a tensor of it" in err or "has shape" in err


def test_a_misfit_names_the_tensor_its_shape_and_who_would_fit(squeezenet: State, features: Any) -> None:
    torch.save({"net": squeezenet}, "w.pth")
    code, _, err = features("w.pth", "--backbone", "alexnet")
    assert code == 3
    assert "not alexnet's weights (" in err
    assert err.rstrip().endswith("it is squeezenet1_1's: pass --backbone squeezenet1_1")
    grey = {**squeezenet, "features.0.weight": torch.zeros(64, 1, 3, 3)}
    torch.save({"net": grey}, "w.pth")
    code, _, err = features("w.pth", "--backbone", "squeezenet1_1")
    assert code == 3
    assert "(net.features.0.weight has shape (64, 1, 3, 3), not (64, 3, 3, 3))" in err
    assert "they fit none of alexnet" in err


def test_copies_that_differ_are_refused_by_name(squeezenet: State, features: Any) -> None:
    torch.save({"left": squeezenet, "right": {k: v + 1 for k, v in squeezenet.items()}}, "w.pth")
    code, _, err = features("w.pth")
    assert code == 3
    assert "w.pth: holds 2 copies of the network that differ (left, right); save one of them alone" in err


def test_the_fc_layers_asked_for_must_be_there(features: Any) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.alexnet(weights=None).state_dict()
    generator = torch.Generator().manual_seed(0)
    whole = {name: (torch.randn(value.shape, generator=generator) * 0.02).half() for name, value in shapes.items()}
    trunk = {name: value for name, value in whole.items() if not name.startswith("classifier.")}
    torch.save({"model": trunk}, "trunk.pth")
    assert features("trunk.pth")[0] == 0
    code, _, err = features("trunk.pth", "--layer", "fc6")
    assert code == 3
    assert "trunk.pth has no classifier.1.weight of shape (4096, 9216), which fc6 needs" in err
    without_fc7 = {name: value for name, value in whole.items() if not name.startswith("classifier.4.")}
    torch.save(without_fc7, "fc6.pth")
    torch.save({"net": {**whole, "classifier.6.weight": torch.zeros(3, 4096)}}, "whole.pth")
    for layer in ("fc6", "fc7"):
        code, vectors, err = features("whole.pth", "--layer", layer, "--side", "224", "--pyramid", "6")
        assert code == 0, err
        if layer == "fc6":
            fc6 = vectors
    code, vectors, err = features("fc6.pth", "--layer", "fc6", "--side", "224", "--pyramid", "6")
    assert code == 0, err
    assert np.array_equal(vectors, fc6)
    code, _, err = features("fc6.pth", "--layer", "fc7", "--side", "224", "--pyramid", "6")
    assert code == 3
    assert "fc6.pth has no classifier.4.weight of shape (4096, 4096), which fc7 needs" in err


class Trap:
    """Unpickled without care, it makes the file ``sprung``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


class Class:
    """A class that only this module has."""

    def __init__(self) -> None:
        self.state = {"weights": torch.zeros(2)}

    def __setstate__(self, state: Any) -> None:
        Path("sprung").touch()


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_of_a_checkpoint_runs(squeezenet: State, features: Any, legacy: bool) -> None:
    torch.save({"net": squeezenet, "options": Class()}, "w.pth", _use_new_zipfile_serialization=not legacy)
    code, _, err = features("w.pth")
    assert code == 0, err
    torch.save({"net": squeezenet, "options": Trap()}, "w.pth", _use_new_zipfile_serialization=not legacy)
    code, _, err = features("w.pth")
    assert code == 3
    assert "one that holds more than tensors" in err
    assert not Path("sprung").exists()


def test_extract_says_it_too_and_training_starts_from_it(squeezenet: State, here: Path, run: Run) -> None:
    torch.save({"model": OrderedDict(prefixed("backbone.")(copy.copy(squeezenet)))}, "w.pth")
    assert run("propose", "p", "-q", "-j", "1", "--max-proposals", "5")[0] == 0
    code, _, err = run("extract", "--weights", "w.pth", "--scales", "64")
    assert code == 0, err
    assert "w.pth: recognised as squeezenet1_1, from model.backbone" in err
