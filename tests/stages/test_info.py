"""``spp info``: every kind of file, unfinished runs, and files that are none of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from sppcli import __version__
from sppcli.artefacts.parts import Parts
from sppcli.cli.main import main
from sppcli.nets.weight_files import save_tensors
from sppcli.stages import info
from sppcli.stages.info import describe, lines
from tests.conftest import Voc
from tests.small_artefacts import write_bbox, write_detections, write_features, write_proposals, write_svm

Captured = pytest.CaptureFixture[str]


def rows(path: str) -> dict[str, str]:
    """The rows for people, by name; continued rows are joined by a bar."""
    found: dict[str, str] = {}
    name = ""
    for title, text in lines(describe(Path(path))):
        name = title or name
        found[name] = f"{found[name]} | {text}" if not title else text
    return found


def test_proposals(here: Path, voc: Voc) -> None:
    write_proposals(Path("proposals.h5"), voc, per_image=20)
    found = rows("proposals.h5")
    assert found["holds"] == "proposals, format 1"
    assert found["made by"] == f"spp propose {__version__}"
    assert found["images"] == "8"
    assert (found["height"], found["width"]) == ("96", "128")
    assert found["proposals"] == "160"
    assert found["proposals per image"] == "20"
    assert found["config"] == "mode: fast"
    assert found["made from"] == "images efefefefefef"
    assert found["source"] == f"kind: voc | paths: {voc.root} | root: {voc.root}"
    assert found["left out"] == "1 input | JPEGImages/bad.jpg: bad.jpg: damaged image"
    assert len(found["fingerprint"]) == 12


def test_windows_per_image_are_a_range(here: Path, voc: Voc) -> None:
    assert info._text({"min": 1.0, "mean": 1650.25, "max": 2000.0}) == "1 to 2,000, 1,650.2 on average"


def test_features(here: Path, voc: Voc) -> None:
    write_features(Path("features.h5"), voc, scales=(96, 48), channels=8)
    facts = describe(Path("features.h5")).facts
    cells = 30 * 40 + 60 * 80
    assert facts["scales"] == [48, 96]
    assert (facts["maps"], facts["channels"]) == (16, 8)
    assert facts["uncompressed_bytes"] == 8 * 2 * 8 * cells
    assert facts["compression"] > 20
    found = rows("features.h5")
    assert found["scales"] == "48, 96"
    assert f"times smaller than its {info.size_text(facts['uncompressed_bytes'])} of float16" in found["size"]


def test_models(here: Path) -> None:
    write_svm(Path("svm.h5"))
    found = rows("svm.h5")
    assert (found["classes"], found["features"]) == ("disc, square", "112")
    assert found["config"] == "c: 0.001 | pyramid: 3, 2, 1"
    assert found["made by"] == f"spp train-svm {__version__}"
    write_bbox(Path("bbox.h5"))
    found = rows("bbox.h5")
    assert found["untrained classes"] == "square"


def test_detections(here: Path, voc: Voc) -> None:
    box = (1.0, 1.0, 9.0, 9.0)
    write_detections(Path("d.h5"), voc, {"000001": [("disc", box, 0.5)] * 3, "000002": [("triangle", box, 0.1)]})
    description = describe(Path("d.h5"))
    assert description.facts["detections"] == 4
    assert description.facts["detections_per_class"] == {"disc": 3, "square": 0, "triangle": 1}
    assert description.facts["detections_per_image"] == {"min": 1.0, "mean": 2.0, "max": 3.0}
    assert rows("d.h5")["detections per class"] == "disc 3, square 0, triangle 1"


def test_empty_files_are_described(here: Path, voc: Voc) -> None:
    write_detections(Path("d.h5"), voc, {})
    assert rows("d.h5")["images"] == "0"
    write_features(Path("f.h5"), Voc(voc.root, (), {}), scales=())
    assert rows("f.h5")["maps"] == "0"


def test_an_unfinished_run_is_mentioned(here: Path, voc: Voc, capsys: Captured) -> None:
    parts = Parts(Path("proposals.h5"), "key")
    for name in ("a", "b"):
        with parts.create(name) as writer:
            writer.array("boxes", np.zeros((1, 4), dtype=np.float32))
    for path in ("proposals.h5", "proposals.h5.parts"):
        found = rows(path)
        assert found["holds"].startswith("nothing yet: a run that has not ended; run the same command again")
        assert found["unfinished run"] == "2 parts in proposals.h5.parts"
    write_proposals(Path("proposals.h5"), voc)
    found = rows("proposals.h5")
    assert found["holds"] == "proposals, format 1"
    assert found["unfinished run"] == "2 parts in proposals.h5.parts"
    parts.discard()
    assert "unfinished run" not in rows("proposals.h5")


ARCHITECTURE = {"name": "tiny", "classes": ["0", "1"], "pyramid": [3, 2, 1], "layers": [{"kind": "conv", "size": 3}]}


def write_network(path: str, description: Any) -> None:
    tensors = {"conv1.weight": np.zeros((4, 3, 3, 3), dtype=np.float32), "conv1.bias": np.zeros(4, dtype=np.float32)}
    if description:
        ours = {name: torch.from_numpy(values) for name, values in tensors.items()}
        save_tensors(Path(path), ours, {info.NETWORK_KEY: json.dumps(description)})
    else:
        save_file(tensors, path, metadata={"by": "them"})


def test_our_networks(here: Path) -> None:
    write_network("tiny.safetensors", {"architecture": ARCHITECTURE, "training": {"epochs": 7}})
    found = rows("tiny.safetensors")
    assert found["holds"] == "a network that spp made"
    assert (found["name"], found["classes"], found["pyramid"]) == ("tiny", "0, 1", "3, 2, 1")
    assert (found["tensors"], found["parameters"], found["types"]) == ("2", "112", "F32")
    assert found["summary"] == "epochs: 7"


def test_networks_of_others(here: Path) -> None:
    write_network("other.safetensors", None)
    found = rows("other.safetensors")
    assert found["holds"] == "weights of a network"
    assert found["metadata"] == "by: them"
    assert found["parameters"] == "112"


def test_the_key_of_networks_is_that_of_their_writer() -> None:
    from sppcli.nets.weights import METADATA_KEY

    assert info.NETWORK_KEY == METADATA_KEY


def test_json(here: Path, voc: Voc, capsys: Captured) -> None:
    write_proposals(Path("proposals.h5"), voc)
    write_svm(Path("svm.h5"))
    assert main(["info", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    proposals, svm = json.loads(out)["files"]
    assert (proposals["path"], proposals["kind"], svm["kind"]) == ("proposals.h5", "proposals", "svm")
    assert proposals["facts"]["windows_per_image"] == {"min": 20.0, "mean": 20.0, "max": 20.0}
    assert proposals["bytes"] == Path("proposals.h5").stat().st_size
    assert len(proposals["fingerprint"]) == 64
    assert proposals["skipped"] == [{"name": "JPEGImages/bad.jpg", "reason": "bad.jpg: damaged image"}]


def test_for_people(here: Path, voc: Voc, capsys: Captured) -> None:
    write_svm(Path("svm.h5"))
    write_proposals(Path("proposals.h5"), voc)
    assert main(["info", "svm.h5", "proposals.h5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("svm.h5\n  holds        svm, format 1\n")
    assert "\n\nproposals.h5\n  holds" in out


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("notes.txt", b"hello", "notes.txt: not a file that spp made; its files are HDF5 (.h5) and safetensors"),
        ("empty.h5", b"", "empty.h5: not a file that spp made"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "cut.h5: not a readable HDF5 file"),
        ("cut.safetensors", b"\xff" * 20, "cut.safetensors: not a readable safetensors file"),
    ],
)
def test_none_of_ours(here: Path, capsys: Captured, name: str, content: bytes, part: str) -> None:
    Path(name).write_bytes(content)
    assert main(["info", name]) == 3
    assert part in capsys.readouterr().err


def test_a_network_with_a_damaged_description(here: Path, capsys: Captured) -> None:
    write_network("tiny.safetensors", {"architecture": {"name": "tiny"}})
    assert main(["info", "tiny.safetensors"]) == 3
    assert "the description of the network is damaged; make the file again" in capsys.readouterr().err


def test_a_folder_and_nothing(here: Path, capsys: Captured) -> None:
    assert main(["info", "."]) == 3
    assert "a folder; name a file that spp made" in capsys.readouterr().err
    assert main(["info"]) == 3
    assert "there is no file of spp's in this folder; run spp propose" in capsys.readouterr().err
    assert main(["info", "gone.safetensors"]) == 3
    assert "gone.safetensors: there is no such file" in capsys.readouterr().err


def test_one_bad_file_among_good_ones(here: Path, capsys: Captured) -> None:
    write_svm(Path("svm.h5"))
    Path("notes.txt").write_text("hello")
    assert main(["info", "notes.txt", "svm.h5"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("svm.h5\n")
    assert err.splitlines()[0].startswith("warning: notes.txt: not a file that spp made")
    assert err.splitlines()[1] == "spp info: error: 1 of 2 files cannot be described; see the lines above"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_600, "100 kB"),
        (999_600, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_size_text(count: int, text: str) -> None:
    assert info.size_text(count) == text
