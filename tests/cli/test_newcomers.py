"""What a newcomer types wrongly: each answer says what to type instead, and is readable on a narrow terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import pytest

from sppcli.cli import chain, console
from sppcli.cli.main import COMMANDS, main, spp
from sppcli.datasets.remarks import counted
from sppcli.runtime.rates import Rates


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_work_that_ctrl_c_ends(capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no rest to go on with."""

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sppcli.cli.media.detect_media", ended)
    (here / "in").mkdir()
    assert main(["detect", "--watch", "in"]) == 130
    said = capsys.readouterr().err.strip()
    assert said.startswith("spp detect: ended; what was found so far is written; ")
    assert "half-written" not in said


@pytest.mark.parametrize("command", ["check", "init", "propose", "show", "convert", "features"])
def test_a_name_with_blanks_came_as_words(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (here / "my new photos").mkdir()
    assert main([command, "my", "new", "photos"]) == 2
    assert capsys.readouterr().err.strip().endswith("'my new photos' is one name with blanks; put it in quotes.")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_name_comes_with_an_example(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Of every command that cannot do without one."""
    found = spp.get_command(click.Context(spp), command)
    assert found is not None
    if not any(isinstance(item, click.Argument) and item.required for item in found.params):
        return
    assert main([command]) == 2
    assert f"For example: spp {command}" in capsys.readouterr().err


def test_errors_are_broken_between_words_on_a_terminal(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (40, 60, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        typed = (["zzz"], ["show", "-q", "-o", "a.gif"], ["show", "x", "--explain", "y"], ["show", "-q", "no.h5"])
        for arguments in typed:
            assert main(arguments) in (2, 3)
            lines = capsys.readouterr().err.rstrip().splitlines()
            assert max(map(len, lines)) <= columns, lines
            monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
            main(arguments)
            assert capsys.readouterr().err.split() == " ".join(lines).split()
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("{n} images have no annotation", "1 image has no annotation: a"),
        ("{n} files are not read", "1 file is not read: a"),
        ("{n} images are not listed in x and were left out", "1 image is not listed in x and was left out: a"),
        ("no annotations were read, and {n} more", "no annotations were read, and 1 more: a"),
    ],
)
def test_one_is_singular(kind: str, said: str) -> None:
    assert counted(kind, ["a"]) == said
    assert counted(kind, ["a", "b"]) == f"{kind.replace('{n}', '2')}: a, b"


def test_a_busy_machine_makes_forecasts_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for load, said in ((99.0, True), (0.1, False)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert ("busy (load 99 on " in chain.certainty(Rates(), False)) is said


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_sheets_are_broken_between_words(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further lines of a row stand below its text, those of a row that goes on too."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(console, "_is_terminal", lambda _: True)
    words = "max_per_image 100, min_score 0.01, nms 0.3, nms_again no, second_pass no, engine spp on a machine"
    console.sheet("detections.h5", [("detections per image", words), ("", f"settings: {words}")])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert max(map(len, lines)) <= columns
    assert " ".join(lines).split() == f"detections per image {words} settings: {words}".split()
    assert {len(line) - len(line.lstrip()) for line in lines[1:]} <= {20, 24, 26}
