"""What the repository says of itself is true: paths in its documents exist, and its version stands in one place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from sppcli import __version__

ROOT = Path(__file__).parent.parent
# "one SVM a class", "a row a box", "windows a second": English has "per" for these, which everyone can read.
SINGLE = "class|image|line|row|box|region|proposal|mini-batch|scale|second|side|thread|kind"
COUNTED = "SVM|name|row|line|file|folder|sub-folder|sentence|regressor|vector|number|box|image|map|weight|output|pass"
PLURAL = "images|detections|objects|proposals|regions|windows|boxes|bins|cells|bytes|seconds|numbers"
PER = re.compile(rf"\b(?:(?:one|an?) (?:{COUNTED})|{PLURAL}) an? (?:{SINGLE})\b")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_every_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"])
def test_files_that_a_page_names_exist(name: str) -> None:
    """As `sppcli/learn/ridge.py`, from the root, in backticks."""
    named = re.findall(r"`((?:sppcli|tests|docs)/[\w/.-]+\.\w+)", (ROOT / name).read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("folder", ["sppcli", "docs", "."])
def test_rates_are_written_with_per(folder: str) -> None:
    """In help, docstrings, comments, errors and pages."""
    files = sorted((ROOT / folder).glob("*.md" if folder != "sppcli" else "**/*.py"))
    assert files
    found = [f"{path.relative_to(ROOT)}: {hit}" for path in files for hit in PER.findall(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one SVM a class", True),
        ("a row a box", True),
        ("2,000 windows a second", True),
        ("names an image, a class and a box", False),
        ("a proposal is a negative of a class", False),
        ("an image as a class has it", False),
    ],
)
def test_what_a_rate_without_per_is(text: str, found: bool) -> None:
    assert bool(PER.search(text)) == found


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "sppcli.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", __version__)
    assert f'"{__version__}"' not in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
