"""README.md shows the two commands that do everything, and every command of the tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppcli.cli.main import COMMANDS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["make demo", "make test", "spp demo", *(f"spp {name}" for name in COMMANDS)])
def test_readme_names_the_command(command: str) -> None:
    assert command in README


def test_links_of_the_readme_lead_somewhere() -> None:
    import re

    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
