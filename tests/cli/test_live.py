"""The live display: on a terminal, what is left when a command has ended is what it had to say, and no bar."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sppcli

NESTED = """
import click, sys, time
from sppcli.cli import console

@click.command()
def outer():
    with console.waiting("outer: starting"):
        time.sleep(0.3)
        with console.progress("outer") as first:
            time.sleep(0.3)
            first.start(4, "images")
            first.advance()
            time.sleep(0.3)
            console.echo("a line on standard error", err=True)
            first.warn("mind the gap")
            with console.progress("inner") as second:
                second.start(2, "classes")
                time.sleep(0.3)
                second.advance(2)
                second.say("said by the inner one")
            first.advance(3)
            console.echo("a result")
        console.table(("name", "number"), [("a", 1)])
        console.warn("at the end: " + "some words " * 12)

outer(standalone_mode=False)
"""


def on_terminal(code: str, columns: int) -> str:
    """Everything that a terminal has been sent by ``code``."""
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(sppcli.__file__).parents[1]),
        "TERM": "xterm",
        "COLUMNS": str(columns),
    }
    for name in ("NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        sent = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # Linux says so when nobody holds the other end any more
                break
            if not block:
                break
            sent += block
    os.close(ours)
    return sent.decode()


def screen(sent: str) -> list[str]:
    """The lines that are left on a terminal that knows what rich sends: start of line, up, and erase the line."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", sent):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            if row == len(lines):
                lines.append("")
        elif re.fullmatch(r"\x1b\[\d*A", token):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + len(token) :]
            column += len(token)
    return [line.rstrip() for line in lines]


def test_no_bar_is_left_behind_and_no_line_is_lost() -> None:
    sent = on_terminal(NESTED, 80)
    left = [line for line in screen(sent) if line]
    assert "outer: starting" in sent  # from the first moment, and gone later
    assert re.search(r"inner .*0/2 classes", sent)
    assert [line for line in left if "━" in line or "starting" in line or "%" in line] == []
    assert left[:5] == [
        "a line on standard error",
        "warning: mind the gap",
        "said by the inner one".join(("inner: ", "")),
        "inner: 2 classes in 0.3 s",
        "a result",
    ]
    assert left[5].startswith("outer: 4 images in ")


def test_lines_are_broken_between_words() -> None:
    left = [line for line in screen(on_terminal(NESTED, 60)) if line]
    last = left[next(i for i, line in enumerate(left) if line.startswith("warning: at the end")) :]
    assert len(last) > 1
    assert all(len(line) <= 60 for line in last)
    assert " ".join(" ".join(last).split()) == "warning: at the end: " + " ".join(["some words"] * 12)


CAUGHT = """
import click
from sppcli.cli import chain, console
from sppcli.cli.main import spp

with spp.make_context("spp", ["config"]) as root, console.waiting("working"):
    caught = chain.quietly(root, "config", ["extract", "--all"])
    console.echo(f"caught {'scales' in caught}")
"""


def test_what_is_caught_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although something is shown while it is waited for."""
    monkeypatch.chdir(tmp_path)
    assert [line for line in screen(on_terminal(CAUGHT, 80)) if line] == ["caught True"]
