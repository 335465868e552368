"""The reference says what the commands say, and every command says something."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import click
import pytest

from sppcli.cli.main import COMMANDS, spp
from sppcli.datasets.formats import FORMATS, NAMES
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
    monkeypatch.setattr(make_reference, "REFERENCE", tmp_path / "reference.md")
    assert make_reference.main(["--check"]) == 1
    assert make_reference.main([]) == 0
    assert make_reference.main(["--check"]) == 0
    path = tmp_path / "reference.md"
    path.write_text(path.read_text().replace("--min-score", "--least-score"))
    assert make_reference.main(["--check"]) == 1
    assert "run python docs/make_reference.py" in capsys.readouterr().err


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


def test_formats_are_those_of_the_registry() -> None:
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    recognised = rows_under(text, "| name | format | recognised by |")
    assert recognised == [[f"`{form.name}`", form.title, form.marks] for form in FORMATS]
    read = rows_under(text, "| name | boxes in the file |")
    assert sorted(row[0] for row in read) == sorted(f"`{name}`" for name in NAMES)
    assert all(f"`{name}`" in text.split("## ")[0] for name in WRITERS)
