"""Weights: what is written is read back, what cannot be read is named, and no file's code is ever run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sppcli.errors import BadInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS, Normalisation
from sppcli.nets.backbones import run_trunk
from sppcli.nets.weights import load_network
from tests.nets.weight_files import BACKBONE, features, maps_of

SHARED = Path(__file__).parents[3] / "shared" / "weights"


# --- files of torchvision's networks ---


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_round_trip(model: nn.Module, image: torch.Tensor, tmp_path: Path, suffix: str):
    path = tmp_path / f"net{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(model.state_dict(), path)
    network = load_network(str(path), BACKBONE)
    with torch.inference_mode():
        assert torch.equal(run_trunk(network.trunk, image), features(model, image))
    assert (network.backbone, network.cut, network.weights) == (BACKBONE, "features.12", str(path))
    assert (network.channels, network.input_size, network.normalisation) == (512, 224, INPUTS["imagenet"])
    assert network.grid == CellGrid(16, 15)
    assert (network.head, network.levels, network.classes) == (None, None, ())


def test_the_digest_is_of_the_numbers_not_of_the_file(model: nn.Module, tmp_path: Path):
    state = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    changed = {**state, "features.0.bias": state["features.0.bias"] + 1}
    torch.save(changed, tmp_path / "c.pth")
    digests = [load_network(str(tmp_path / name), BACKBONE).digest for name in ("a.safetensors", "b.pth", "c.pth")]
    assert digests[0] == digests[1] != digests[2]


def test_float16(model: nn.Module, image: torch.Tensor, tmp_path: Path):
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    network = load_network(str(tmp_path / "half.safetensors"), BACKBONE)
    read = dict(network.trunk.named_parameters())
    assert {tensor.dtype for tensor in read.values()} == {torch.float32}
    for name, tensor in read.items():
        assert torch.equal(tensor, half[name].float())


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints(model: nn.Module, image: torch.Tensor, tmp_path: Path, wrapper: str, prefix: str):
    """As training scripts write them: the state in a table of its own, names with DataParallel's prefix."""
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, wrapper: state, "arch": "net"}, tmp_path / "checkpoint.pth")
    assert torch.equal(maps_of(tmp_path / "checkpoint.pth", image), features(model, image))


def test_another_cut(model: nn.Module, image: torch.Tensor, tmp_path: Path):
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    network = load_network(str(tmp_path / "net.safetensors"), BACKBONE, "features.5")
    with torch.inference_mode():
        assert torch.equal(run_trunk(network.trunk, image), model.features[:6](image))
    with pytest.raises(UsageProblem, match="has no layer 'conv5'"):
        load_network(str(tmp_path / "net.safetensors"), BACKBONE, "conv5")


# --- trained weights that lie beside the repository ---

needs_shared = pytest.mark.skipif(
    not (SHARED / "squeezenet1_0-imagenet.safetensors").exists(),
    reason="../shared/weights has no SqueezeNet weights on this machine",
)


def shared(name: str) -> Path:
    return SHARED / f"squeezenet1_0-imagenet{name}.safetensors"


@needs_shared
def test_shared_squeezenet_loads():
    network = load_network(str(shared("")), "squeezenet1_0")
    assert (network.channels, network.grid) == (512, CellGrid(16, 17))
    with pytest.raises(BadInput, match="pass --backbone squeezenet1_0"):
        load_network(str(shared("")), "alexnet")
    recognised = load_network(str(shared("")))
    assert (recognised.backbone, recognised.digest) == (network.backbone, network.digest)


@needs_shared
def test_shared_squeezenet_features_agree_with_the_caffe_file():
    """Its README: the input convention was folded into the first layer, to 1.2e-6 in float32, 1.4e-3 in float16."""
    # An image with structure: an edge, a ramp and noise, as bytes.
    rng = np.random.default_rng(0)
    pixels = np.full((227, 227, 3), 60.0)
    pixels[:, 120:] += np.array([90, 20, 60])
    pixels += np.linspace(0, 60, 227)[:, None, None] + rng.normal(0, 8, pixels.shape)
    pixels = pixels.clip(0, 255).round().astype(np.uint8)
    rgb = torch.from_numpy(INPUTS["imagenet"].apply(pixels)).permute(2, 0, 1)[None]
    caffe = Normalisation((104, 117, 123), (1, 1, 1), 1.0, "bgr")
    bgr = torch.from_numpy(caffe.apply(pixels)).permute(2, 0, 1)[None]
    expected = maps_of(shared("-caffe-bgr"), bgr, "squeezenet1_0")
    size = expected.abs().max()
    assert size > 1
    assert (maps_of(shared(""), rgb, "squeezenet1_0") - expected).abs().max() / size < 5e-6
    assert (maps_of(shared("-fp16"), rgb, "squeezenet1_0") - expected).abs().max() / size < 5e-3


@pytest.mark.parametrize(
    ("other", "left_out"),
    [
        ("state_dict.teacher.backbone.features.0.weight", "state_dict.teacher"),
        ("state_dict.student.head.weight", "state_dict.student.head"),
        ("state_dict.loss.weight", "state_dict.loss"),
        ("optimizer.state.0.exp_avg", "optimizer"),
        ("best", "best"),
    ],
)
def test_what_is_left_out_is_named_from_where_it_parts(model: nn.Module, tmp_path: Path, other: str, left_out: str):
    """A student beside its teacher: it is not "state_dict" that is left out, for the student is read from that."""
    table = {f"state_dict.student.backbone.{name}": tensor for name, tensor in model.state_dict().items()}
    save_file({**table, other: torch.ones(3)}, tmp_path / "net.safetensors")
    network = load_network(str(tmp_path / "net.safetensors"), BACKBONE)
    (said,) = network.notes
    assert said.endswith(f"from state_dict.student.backbone; left out: {left_out}")
