"""Networks that spp wrote: the same numbers come back, with the description of the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sppcli.errors import BadInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS, Normalisation
from sppcli.nets.backbones import run_trunk
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weight_files import save_tensors
from sppcli.nets.weights import METADATA_KEY, load_network, read_classifier, save_network
from tests.nets.weight_files import BACKBONE

ARCHITECTURE = Architecture(
    name="small",
    layers=(Layer("conv", 5, 2, 2, 6), Layer("maxpool", 3, 2), Layer("conv", 3, 1, 1, 8)),
    pyramid=(3, 2, 1),
    fc=(16, 12),
    classes=("disc", "square", "triangle"),
    normalisation=Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.1)),
    input_size=48,
)


@pytest.fixture
def own(tmp_path: Path) -> tuple[SppClassifier, Path]:
    torch.manual_seed(3)
    model = SppClassifier(ARCHITECTURE).eval()
    save_network(tmp_path / "small.safetensors", model, {"epochs": 2})
    return model, tmp_path / "small.safetensors"


def test_own_network_gives_the_same_maps(own: tuple[SppClassifier, Path], image: torch.Tensor):
    model, path = own
    network = load_network(str(path))
    with torch.inference_mode():
        maps = run_trunk(network.trunk, image)
        assert torch.equal(maps, model.trunk(image))
        pooled = model.pool(maps)
        fc6 = torch.relu(model.fc["fc6"](pooled))
        assert torch.equal(network.head.run(pooled, "fc6"), fc6)
        assert torch.equal(network.head.run(pooled, "fc7"), torch.relu(model.fc["fc7"](fc6)))
    assert (network.backbone, network.cut, network.channels, network.input_size) == ("small", "relu2", 8, 48)
    assert (network.levels, network.head.levels) == ((3, 2, 1), (3, 2, 1))
    assert network.classes == ARCHITECTURE.classes
    assert network.normalisation == ARCHITECTURE.normalisation
    assert network.grid == CellGrid(4, 2)
    assert network.digest == load_network(str(path)).digest


def test_own_network_whole(own: tuple[SppClassifier, Path], image: torch.Tensor):
    model, path = own
    read = read_classifier(path)
    assert read.architecture == ARCHITECTURE
    assert not read.training
    with torch.inference_mode():
        assert torch.equal(read(image), model(image))
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_fine_tuned_fc_layers_leave_the_digest(own: tuple[SppClassifier, Path], tmp_path: Path):
    """Maps stay valid when only the head changes; another weight or normalisation makes other maps."""
    model, path = own
    digests = [load_network(str(path)).digest]
    changes = (model.fc["fc6"].weight, model.last.bias, model.trunk.conv1.bias)
    for parameter in changes:
        with torch.no_grad():
            parameter.view(-1)[0] += 1
        save_network(path, model, {})
        digests.append(load_network(str(path)).digest)
    model.architecture = replace(ARCHITECTURE, normalisation=INPUTS["imagenet"])
    save_network(path, model, {})
    digests.append(load_network(str(path)).digest)
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("options", [{"backbone": BACKBONE}, {"cut": "relu1"}, {"normalisation": "caffe"}])
def test_own_network_needs_no_options(own: tuple[SppClassifier, Path], options: dict):
    with pytest.raises(UsageProblem, match="describes its own network; leave out --backbone, --cut and --input"):
        load_network(str(own[1]), **options)


def test_damaged_descriptions(own: tuple[SppClassifier, Path], tmp_path: Path):
    path = own[1]
    tensors = load_file(path)
    architecture = ARCHITECTURE.to_json()
    damaged = [
        "no json",
        "[]",
        "{}",
        json.dumps({"architecture": {}}),
        json.dumps({"architecture": {**architecture, "layers": [{"kind": "conv", "colour": 1}]}}),
        json.dumps({"architecture": {**architecture, "pyramid": ["x"]}}),
        json.dumps({"architecture": {**architecture, "normalisation": None}}),
        json.dumps({"architecture": {**architecture, "pyramid": []}}),
        json.dumps({"architecture": {**architecture, "layers": []}}),
        json.dumps({"architecture": {**architecture, "layers": [{"kind": "dense", "size": 3}]}}),
        json.dumps({"architecture": {**architecture, "fc": [-4]}}),
    ]
    for description in damaged:
        save_tensors(path, tensors, {METADATA_KEY: description})
        with pytest.raises(BadInput, match=r"small.safetensors: the description of the network is damaged"):
            load_network(str(path))


def test_own_weights_that_do_not_fit(own: tuple[SppClassifier, Path]):
    path = own[1]
    tensors = load_file(path)
    description = json.dumps({"architecture": replace(ARCHITECTURE, fc=(16, 13)).to_json()})
    save_tensors(path, tensors, {METADATA_KEY: description})
    with pytest.raises(BadInput, match=r"do not fit the network it describes \(fc.fc7.weight has shape"):
        read_classifier(path)


def test_not_a_network_of_ours(tmp_path: Path):
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors")
    with pytest.raises(BadInput, match="not a network that spp wrote"):
        read_classifier(tmp_path / "net.safetensors")
