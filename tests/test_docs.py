"""The reference says what the commands say, and every command says something."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import click
import pytest

from sppcli.cli.main import COMMANDS, spp
from sppcli.datasets.formats import NAMES
from sppcli.datasets.records import WRITERS

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def make_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_fresh(make_reference: ModuleType) -> None:
    assert make_reference.main(["--check"]) == 0


def test_a_stale_reference_is_noticed(
    make_reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "formats.md"
    page.write_text((DOCS / "formats.md").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(make_reference, "FORMATS_PAGE", page)
    monkeypatch.setattr(make_reference, "REFERENCE", tmp_path / "reference.md")
    assert make_reference.main(["--check"]) == 1
    assert make_reference.main([]) == 0
    assert make_reference.main(["--check"]) == 0
    path = tmp_path / "reference.md"
    path.write_text(path.read_text().replace("--min-score", "--least-score"))
    assert make_reference.main(["--check"]) == 1
    assert "reference.md is not what the program says; run python docs/make_reference.py" in capsys.readouterr().err
    assert make_reference.main([]) == 0
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("| `csv` | CSV |", "| `csv` | Tables |"), encoding="utf-8")
    assert make_reference.main(["--check"]) == 1
    assert "formats.md is not" in capsys.readouterr().err
    assert make_reference.main([]) == 0
    assert page.read_text(encoding="utf-8") == text


def commands_of(name: str) -> list[click.Command]:
    """The command, or the group and the commands in it."""
    command = spp.get_command(click.Context(spp), name)
    assert command is not None
    return [command, *(command.commands.values() if isinstance(command, click.Group) else ())]


@pytest.mark.parametrize(
    "command", [item for name in COMMANDS for item in commands_of(name)], ids=lambda item: str(item.name)
)
def test_every_command_and_option_has_help(command: click.Command) -> None:
    assert command.help
    if isinstance(command, click.Group):
        return
    options = [item for item in command.params if isinstance(item, click.Option)]
    assert [item.name for item in options if not item.help] == []
    shared = {flag for item in options for flag in item.opts}
    assert {"--quiet", "--verbose"} <= shared


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_guide(name: str) -> None:
    assert f"spp {name}" in (DOCS / "guide.md").read_text(encoding="utf-8")


def rows_under(text: str, header: str) -> list[list[str]]:
    """The cells of the table whose header begins so."""
    lines = text[text.index(header) :].split("\n")[2:]
    rows = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_format_is_on_the_page_of_formats() -> None:
    """The first table is written from the registry, as `test_reference_is_fresh` holds; the others are by hand."""
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    read = rows_under(text, "| name | boxes in the file |")
    assert sorted(row[0] for row in read) == sorted(f"`{name}`" for name in NAMES)
    assert all(f"`{name}`" in text.split("## ")[0] for name in WRITERS)
