"""What is chosen by name is registered in one place, and the examples of docs/extending.md work as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppcli.evaluation.registry import PROTOCOLS
from sppcli.nets.backbones import BackboneSpec
from sppcli.nets.registry import BACKBONES
from sppcli.proposals.registry import METHODS
from sppcli.stages import fetch
from tests.conftest import Run, build_voc

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = {match[1]: match[2] for match in re.finditer(r"```python\n# (sppcli/\S+\.py)\n(.*?)```", PAGE, re.DOTALL)}
REGISTRIES = {
    "backbone": "sppcli/nets",
    "region proposal method": "sppcli/proposals",
    "evaluation protocol": "sppcli/evaluation",
}


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("extract", BACKBONES),
        ("features", BACKBONES),
        ("train-net", BACKBONES),
        ("fetch", [name for name, entry in BACKBONES.items() if entry.downloads]),
        ("propose", METHODS),
        ("evaluate", [f"--{name}" for name in PROTOCOLS]),
    ],
)
def test_help_lists_what_is_registered(run: Run, command: str, names: list[str]) -> None:
    text = " ".join(run(command, "--help-all")[1].split())
    if command == "fetch":
        text = " ".join(fetch.WEIGHTS)
    missing = [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
    assert missing == []


@pytest.mark.parametrize(
    ("registry", "start"), [(BACKBONES, "`--backbone` chooses among "), (METHODS, "`--method` chooses among ")]
)
def test_readme_lists_what_is_registered(registry: dict, start: str) -> None:
    """In the order of the registry, and nothing else."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    listed = text.split(start)[1].split(". ")[0]
    assert re.split(r", | and ", listed) == list(registry)


@pytest.mark.parametrize("registry", [BACKBONES, METHODS, PROTOCOLS])
def test_every_line_leads_somewhere(registry: dict) -> None:
    for name, entry in registry.items():
        found = entry.load()
        assert callable(found) or isinstance(found, BackboneSpec), name
        assert entry.text


def test_downloads_are_those_that_have_an_address() -> None:
    assert tuple(name for name, entry in BACKBONES.items() if entry.load().url is not None) == fetch.WEIGHTS


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the files and lines of the page."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "sppcli", folder / "sppcli", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in BLOCKS.items():
        target = folder / path
        if target.name == "registry.py":
            source = target.read_text(encoding="utf-8")
            assert source.endswith("}\n")
            target.write_text(source[:-2] + text + "}\n", encoding="utf-8")
        else:
            assert not target.exists()
            target.write_text(text, encoding="utf-8")
    return folder


def spp_of(extended: Path, where: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(extended)}
    done = subprocess.run(
        [sys.executable, "-m", "sppcli", *arguments], cwd=where, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("what", REGISTRIES)
def test_an_example_is_one_file_and_one_line(what: str) -> None:
    folder = REGISTRIES[what]
    line = BLOCKS[f"{folder}/registry.py"]
    assert line.count("\n") == 1
    (path,) = [path for path in BLOCKS if path.startswith(f"{folder}/") and not path.endswith("registry.py")]
    lines = BLOCKS[path].count("\n")
    assert lines < 60
    assert re.search(rf"^\| {what} \|.*\| below, {lines} lines \|$", PAGE, re.MULTILINE), lines
    assert path.removesuffix(".py").replace("/", ".") in line


def test_the_backbone_of_the_page(extended: Path, tmp_path: Path) -> None:
    namespace: dict = {}
    exec(BLOCKS["sppcli/nets/fournet.py"], namespace)
    torch.save(namespace["FourNet"]().state_dict(), tmp_path / "w.pth")
    rng = np.random.default_rng(0)
    (tmp_path / "p").mkdir()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "p" / "a.png")
    assert "fournet" in spp_of(extended, tmp_path, "features", "--help")
    for options in ((), ("--backbone", "fournet")):
        said = spp_of(extended, tmp_path, "features", "p", "--weights", "w.pth", "--side", "64", "--force", *options)
        assert "1 image of 3,200 features (fournet, pool5)" in said
    assert "w.pth: recognised as fournet" in spp_of(
        extended, tmp_path, "features", "p", "--weights", "w.pth", "--side", "64", "--force"
    )


def test_the_proposal_method_of_the_page(extended: Path, tmp_path: Path) -> None:
    build_voc(tmp_path / "voc", 4)
    assert "grid" in spp_of(extended, tmp_path, "propose", "--help")
    said = spp_of(extended, tmp_path, "propose", "voc", "--method", "grid", "-j", "1")
    # 96 x 128: one square of 96, 3 x 4 of 48, 7 x 9 of 24.
    assert "4 images, 304" in said
    assert "grid" in spp_of(extended, tmp_path, "info", "proposals.h5")


def test_the_evaluation_protocol_of_the_page(extended: Path, tmp_path: Path) -> None:
    voc = build_voc(tmp_path / "voc", 4)
    lines: dict[str, list[str]] = {name: [] for name in ("disc", "square", "triangle")}
    for image_id in voc.splits["train"]:
        for thing in voc.things[image_id]:
            x0, y0, x1, y1 = thing.box
            lines[thing.label].append(f"{image_id} 0.9 {x0 + 1} {y0 + 1} {x1} {y1}\n")
    (tmp_path / "results").mkdir()
    for name, rows in lines.items():
        # Each object once, and as often nothing, less sure: all hits first, so the best F1 is 1.
        rows += [f"{voc.ids[0]} 0.1 1 1 3 3\n"] * len(rows)
        (tmp_path / "results" / f"comp4_det_train_{name}.txt").write_text("".join(rows))
    assert "--best-f1" in spp_of(extended, tmp_path, "evaluate", "--help-all")
    said = spp_of(extended, tmp_path, "evaluate", "voc", "--results", "results", "--split", "train", "--best-f1")
    assert re.search(r"mAP +1\.0000", said)
    assert "best-f1, IoU 0.5, 2 images of train" in said
