"""`spp demo`: end to end in small, gone on with when run again, and never over somebody's files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sppcli.cli.main import SUMMARIES
from sppcli.errors import BadInput, UsageProblem
from sppcli.nets.weights import load_network
from sppcli.stages import demo

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--scenes", "12", "--epochs", "1", "--crops", "1", "--seed", "1")
MADE = ("proposals.h5", "features.h5", "svm.h5", "bbox.h5", "detections.h5", "detections.png", demo.NETWORK)


def spp(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sppcli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "shown"
    done = spp("demo", str(folder), *SMALL)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_it_prints_each_command_the_table_and_the_files(finished: tuple[Path, str]) -> None:
    folder, out = finished
    commands = re.findall(r"^\$ spp (\S+)", out, re.MULTILINE)
    assert commands == ["propose", "extract", "train-svm", "train-bbox", "detect", "evaluate", "show"]
    score = re.search(r"^mAP +([0-9.]+)", out, re.MULTILINE)
    assert score is not None
    assert 0 < float(score[1]) <= 1
    # What a command prints stands below its own line.
    assert out.index("$ spp evaluate") < score.start() < out.index("$ spp show") < out.index("detections.png")
    # And above it, what it is for.
    for name in commands:
        assert f"# {SUMMARIES[name]}\n$ spp {name}" in out
    files = out[out.index(f"in {folder}") :]
    assert f"{folder / 'detections.png'}    look at it" in files
    for name in MADE:
        assert (folder / name).stat().st_size > 0
        assert name in files


def test_its_network_names_the_digits_and_the_background(finished: tuple[Path, str]) -> None:
    network = load_network(str(finished[0] / demo.NETWORK))
    assert network.classes == demo.ARCHITECTURE.classes
    assert (network.input_size, network.grid.stride) == (56, 4)
    assert network.head is not None


def test_run_again_it_makes_nothing_new(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".h5", ".safetensors", ".jpg")}
    again = spp("demo", str(folder), *SMALL)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("(there already)") == 2
    assert {path: path.read_bytes() for path in before} == before


def test_a_step_that_fails_ends_it_with_that_steps_exit_code(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in (demo.MARKER, demo.NETWORK):
        (folder / name).write_bytes((finished[0] / name).read_bytes())
    (folder / demo.DATASET).mkdir()  # composed already, as far as the demonstration can tell, but empty
    done = spp("demo", str(folder), *SMALL)
    assert done.returncode == 3
    assert "spp propose failed" in done.stderr
    assert "$ spp extract" not in done.stdout


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="holds other things; name a new or empty folder"):
        demo.run(tmp_path, demo.DemoConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shown").write_text("")
    with pytest.raises(BadInput, match="name another folder"):
        demo.run(tmp_path / "shown", demo.DemoConfig())


def test_a_demonstration_with_other_settings_is_not_mixed_with_this_one(finished: tuple[Path, str]) -> None:
    with pytest.raises(UsageProblem, match=r"seed 1, now 2.*name another folder, or delete it"):
        demo.run(finished[0], demo.DemoConfig(scenes=12, seed=2, epochs=1, crops=1))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_marker_is_not_taken_for_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / demo.MARKER).write_text(text)
    with pytest.raises((BadInput, UsageProblem), match=r"name another folder|delete"):
        demo.run(tmp_path, demo.DemoConfig())


def test_too_few_scenes_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="take 8 or more"):
        demo.run(tmp_path / "shown", demo.DemoConfig(scenes=7))
    assert not (tmp_path / "shown").exists()
