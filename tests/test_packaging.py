"""What is packed for others: the wheel holds the package alone, and the Dockerfile keeps to its linter's rules."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LARGEST = 1_500_000
"""Bytes of the wheel: no data, weights or pictures."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy: building writes beside the sources.
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "sppcli", copy / "sppcli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "released", copy / "tests" / "released")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    made = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (path,) = (copy / "dist").iterdir()
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {name.split("/")[0] for name in names} == {"sppcli", wheel.name.split("-py3")[0] + ".dist-info"}
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "sppcli").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("sppcli/")} == sources
    assert wheel.stat().st_size < LARGEST


def test_the_dockerfile_keeps_to_its_linters_rules() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed: there is no build of it for this machine")
    found = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
