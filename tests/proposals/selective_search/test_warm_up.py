"""The search is compiled before it is needed, and whoever waits is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sppcli
from sppcli.artefacts.proposals import read_proposals
from sppcli.cli.main import main
from sppcli.proposals.selective_search import warm_up as compiling
from sppcli.runtime.compiled import temporary_folder
from tests.conftest import Voc

COMPLETE = """
import numpy as np
from sppcli.proposals.selective_search import graph_segmentation, grouping, introsort, pixel_codes, region_features
from sppcli.proposals.selective_search import warm_up as compiling
from sppcli.proposals.selective_search.search import MODES, spp_regions
from tests.proposals.selective_search.images import draw

ROOMS = (graph_segmentation, grouping, introsort, pixel_codes, region_features)

def compiled():
    return {
        f"{room.__name__}.{name}": len(value.signatures)
        for room in ROOMS
        for name, value in vars(room).items()
        if hasattr(value, "signatures")
    }

for name in compiling.PARTS:
    compiling.compile_part(name)
before = compiled()
assert sum(before.values()) > 10
for kind in ("smooth", "blocks", "discs"):
    for mode in MODES:
        spp_regions(draw(kind, 60, 70, 1), mode)
print({name: count for name, count in compiled().items() if count != before[name]})
"""
FRESH = """
from sppcli.proposals.selective_search import warm_up as compiling
print(sorted(compiling.missing_parts()))
compiling.compile_part("ties")
print(sorted(compiling.missing_parts()))
"""

TIES = """
from sppcli.proposals.selective_search import introsort, warm_up
told = "ties" in warm_up.missing_parts()
warm_up.compile_part("ties")
print(told, sum(introsort.equal_items.stats.cache_misses.values()) > 0)
"""


def run_python(code: str, folder: Path | None = None, **environment: str) -> list[str]:
    """Lines that ``code`` prints; ``folder``: where the package is read from."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_after_the_parts_nothing_is_left_to_compile() -> None:
    assert run_python(COMPLETE) == ["{}"]


def test_what_is_not_cached_is_known(tmp_path: Path) -> None:
    """In an empty cache folder, which numba makes itself."""
    before, after = run_python(FRESH, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert before == "['features', 'grouping', 'segmentation', 'ties']"
    assert after == "['features', 'grouping', 'segmentation']"


def test_what_is_said_to_be_missing_is_what_numba_compiles(tmp_path: Path) -> None:
    """Source files that a checkout has touched, changed ones, another processor, and results that have gone."""
    library = tmp_path / "library"
    shutil.copytree(Path(sppcli.__file__).parent, library / "sppcli", ignore=shutil.ignore_patterns("__pycache__"))
    source = library / "sppcli/proposals/selective_search/introsort.py"

    def told_and_compiled(**environment: str) -> tuple[bool, bool]:
        said = run_python(TIES, library, NUMBA_CACHE_DIR=str(tmp_path / "cache"), **environment)
        told, compiled = said[0].split()
        return told == "True", compiled == "True"

    assert told_and_compiled() == (True, True)
    assert told_and_compiled() == (False, False)
    os.utime(source, (2e9, 2e9))
    told, compiled = told_and_compiled()
    assert told == compiled  # numba compares the source's content, or its time in earlier versions
    assert told_and_compiled(NUMBA_CPU_NAME="generic") == (True, True)
    for kept in (tmp_path / "cache").rglob("introsort.*.nbc"):
        kept.unlink()
    assert told_and_compiled() == (True, True)
    source.write_text(f"{source.read_text()}# changed\n")
    assert told_and_compiled() == (True, True)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_compiling_is_announced_on_standard_error(
    jobs: str, voc: Voc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "missing_parts", lambda: ["ties", "features"])
    monkeypatch.chdir(voc.root.parent)
    assert main(["propose", str(voc.image("000001")), "-v", "-j", jobs]) == 0
    captured = capsys.readouterr()
    assert "compiling Selective Search, once on this computer" in captured.err
    assert "2 compiled parts" in captured.err
    assert "compil" not in captured.out


@pytest.mark.parametrize("engine", ["spp", "opencv"])
def test_a_search_that_needs_no_compiler_mentions_none(
    engine: str, voc: Voc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if engine == "spp":
        for name in compiling.PARTS:
            compiling.compile_part(name)
    else:
        monkeypatch.setattr(compiling, "missing_parts", lambda: pytest.fail("opencv needs nothing compiled"))
    monkeypatch.chdir(voc.root.parent)
    assert main(["propose", str(voc.image("000001")), "-v", "--engine", engine]) == 0
    assert "compil" not in capsys.readouterr().err


def test_artefacts_of_either_engine_hold_the_same_windows(
    voc: Voc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(voc.root.parent)
    for mode in ("fast", "single"):
        for engine in ("spp", "opencv"):
            options = [
                "--engine",
                engine,
                "--mode",
                mode,
                "--max-proposals",
                "30",
                "-o",
                f"{engine}.h5",
                "-q",
                "-j",
                "1",
            ]
            assert main(["propose", str(voc.root), *options]) == 0
        ours, reference = (read_proposals(Path(f"{engine}.h5")) for engine in ("spp", "opencv"))
        assert ours.boxes.tolist() == reference.boxes.tolist()
        assert ours.scores.tolist() == reference.scores.tolist()
        assert len(ours.boxes) > 8
        assert ours.header.config["engine"].startswith("spp on opencv ")
        assert reference.header.config["engine"].startswith("opencv ")
    assert main(["propose", str(voc.root), "--engine", "matlab"]) == 2
    assert "'spp', 'opencv'" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["temporary", None])
def test_an_unusual_place_of_compiled_code_is_told_once(
    folder: str | None, voc: Voc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The temporary folder is named; without any, nothing is compiled before the processes that search."""
    compiled: list[str] = []
    monkeypatch.setattr(compiling, "missing_parts", lambda: ["ties"])
    monkeypatch.setattr(compiling, "compile_part", compiled.append)
    place = temporary_folder() / "proposals_ab" if folder else None
    monkeypatch.setattr(compiling, "kept_in", lambda: place)
    monkeypatch.chdir(voc.root.parent)
    assert main(["propose", str(voc.image("000001")), "-j", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("set NUMBA_CACHE_DIR to") == 1
    assert (f"kept in {temporary_folder()}, as" in captured.err) == (folder is not None)
    assert compiled == (["ties"] if folder else [])
    assert "NUMBA" not in captured.out


def test_where_compiled_code_is_kept() -> None:
    code = "from sppcli.proposals.selective_search import warm_up; print(warm_up.kept_in(), warm_up.missing_parts())"
    assert run_python(code)[0].startswith(str(Path(compiling.__file__).parent / "__pycache__"))
