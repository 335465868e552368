"""Weights that cannot be read are named, with what is wrong with them; no file's code is ever run."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.nets.weights import load_network
from tests.nets.weight_files import BACKBONE, archive, legacy, trapped


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(MissingInput, match=r"gone.safetensors: there is no such weights file; give .* imagenet"):
        load_network(str(tmp_path / "gone.safetensors"))


def test_an_unknown_backbone():
    with pytest.raises(UsageProblem, match="unknown backbone 'alexnot'; choose one of alexnet, vgg16"):
        load_network("imagenet", "alexnot")


def other_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("readme.txt", "no weights")
    return stream.getvalue()


STATE = {"weight": torch.arange(2000.0)}
GARBAGE = {
    "empty": b"",
    "text": b"hello world\n",
    "page": b"<!DOCTYPE html><html><title>404</title></html>",
    "one byte": b"\x80",
    "picture": b"\xff\xd8\xff\xe0\x00\x10JFIF" * 40,
    "another zip": other_zip(),
    "half an archive": archive(STATE)[:3000],
    "half a legacy file": legacy(STATE)[:3000],
    "start of a legacy file": legacy(STATE)[:200],
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage(tmp_path: Path, what: str, suffix: str):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(GARBAGE[what])
    with pytest.raises(BadInput, match=rf"net\{suffix}: not a "):
        load_network(str(path))


def test_random_bytes(tmp_path: Path):
    """torch's reader of pickles raises a dozen kinds of error; each becomes ours."""
    rng = np.random.default_rng(0)
    path = tmp_path / "net.pth"
    for _ in range(150):
        path.write_bytes(rng.integers(0, 256, rng.integers(1, 60), dtype=np.uint8).tobytes())
        with pytest.raises(BadInput, match=r"net.pth: not a "):
            load_network(str(path))


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, {"state_dict": {"a": "text"}}, torch.zeros(3)])
def test_no_table_of_tensors(tmp_path: Path, value: object):
    torch.save(value, tmp_path / "net.pth")
    with pytest.raises(BadInput, match=r"net.pth: holds no table of tensors; save the network's state_dict\(\)"):
        load_network(str(tmp_path / "net.pth"))


def test_an_unknown_suffix(tmp_path: Path):
    (tmp_path / "net.caffemodel").write_bytes(b"")
    with pytest.raises(BadInput, match=r"net.caffemodel: weights are read from .safetensors or .pth files"):
        load_network(str(tmp_path / "net.caffemodel"))
    with pytest.raises(BadInput, match="weights are read from"):
        load_network(str(tmp_path))


def test_another_networks_weights(model: nn.Module, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    save_file(model.state_dict(), path)
    with pytest.raises(BadInput, match=f"not alexnet's weights .*; it is {BACKBONE}'s: pass --backbone {BACKBONE}"):
        load_network(str(path), "alexnet")
    with pytest.raises(BadInput, match=f"not squeezenet1_0's weights .*is missing.*pass --backbone {BACKBONE}"):
        load_network(str(path), "squeezenet1_0")


def test_nobodys_weights(model: nn.Module, tmp_path: Path):
    state = model.state_dict()
    cases = {
        "missing": {name: tensor for name, tensor in state.items() if name != "features.0.bias"},
        "shape": {**state, "features.0.bias": torch.zeros(63)},
        "not a tensor of it": {**state, "features.99.bias": torch.zeros(3)},
    }
    for problem, changed in cases.items():
        save_file(changed, tmp_path / "net.safetensors")
        with pytest.raises(
            BadInput, match=f"not {BACKBONE}'s weights .features.*{problem}.*choose the right --backbone"
        ):
            load_network(str(tmp_path / "net.safetensors"), BACKBONE)


# --- files that carry code ---


@pytest.mark.parametrize("form", ["archive", "legacy", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, form: str):
    marker, path = tmp_path / "code ran", tmp_path / "net.pth"
    path.write_bytes(trapped(marker, form))
    with pytest.raises(BadInput, match=r"net.pth: not a weights file, .* holds more than tensors"):
        load_network(str(path))
    assert not marker.exists()


def test_the_trap_works(tmp_path: Path):
    """Read without the restriction, the same files do run their code."""
    for form in ("archive", "legacy", "pickle"):
        marker, path = tmp_path / form, tmp_path / "net.pth"
        path.write_bytes(trapped(marker, form))
        if form == "pickle":
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert marker.exists()


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_numbers_that_are_no_weights(model: nn.Module, tmp_path: Path, dtype: torch.dtype):
    """A quantised file has the names and shapes, and its numbers mean something else."""
    torch.save({name: tensor.to(dtype) for name, tensor in model.state_dict().items()}, tmp_path / "net.pth")
    with pytest.raises(BadInput, match=r"features\.0\.weight holds (int8|int64|bool), not floating-point numbers"):
        load_network(str(tmp_path / "net.pth"), BACKBONE)
