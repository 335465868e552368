"""Outputs that a stage would make again as they are, HDF5 files and networks alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sppcli.artefacts.networks import NetworkHeader
from sppcli.artefacts.output import Output
from sppcli.artefacts.store import Header
from sppcli.nets.weights import read_classifier, save_network
from tests.artefacts.written import header, write
from tests.stages.conftest import write_network


def made(path: Path, kind: str) -> Header | NetworkHeader:
    """Write ``path`` as an HDF5 file or a network; returns what made it."""
    if kind == "svm":
        return write(path)
    facts = NetworkHeader({"epochs": 3})
    model = read_classifier(write_network(path))
    save_network(path, model, {"fingerprint": facts.fingerprint})
    return facts


def changed(kind: str) -> Header | NetworkHeader:
    return header(config={}) if kind == "svm" else NetworkHeader({"epochs": 4})


KINDS = pytest.mark.parametrize("kind", ["svm", "network"])


@KINDS
def test_is_current(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.safetensors"
    assert not Output(path, changed(kind), []).is_current()
    plan = made(path, kind)
    assert Output(path, plan, []).is_current()
    assert not Output(path, plan, []).is_current(force=True)
    assert not Output(path, changed(kind), []).is_current()
    assert not Output(path, header("bbox"), []).is_current()
    path.write_bytes(b"nothing of ours")
    assert not Output(path, plan, []).is_current()


@KINDS
def test_a_current_file_is_made_no_older_than_what_it_was_made_from(tmp_path: Path, kind: str) -> None:
    path, older, newer = (tmp_path / name for name in ("out.safetensors", "older", "newer"))
    plan = made(path, kind)
    content = path.read_bytes()
    for file, time in ((path, 2000), (older, 1000), (newer, 3000)):
        file.touch()
        os.utime(file, (time, time))
    assert Output(path, plan, []).is_current()
    assert Output(path, plan, [older, tmp_path / "gone"]).is_current()
    assert path.stat().st_mtime == 2000
    assert not Output(path, changed(kind), [older, newer]).is_current()
    assert path.stat().st_mtime == 2000
    assert Output(path, plan, [older, newer]).is_current()
    assert path.stat().st_mtime > 3000
    assert path.read_bytes() == content


def test_where_the_images_lie_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    write(path, source={"root": "here"})
    moved = header(source={"root": "there"})
    assert Output(path, moved, []).is_current()
    assert not Output(path, moved, [], same_source=True).is_current()
    assert Output(path, header(source={"root": "here"}), [], same_source=True).is_current()
