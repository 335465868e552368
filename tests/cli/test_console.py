"""What is printed, and where."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest

from sppcli.cli import console, options
from sppcli.cli.meter import Meter, duration

Captured = pytest.CaptureFixture[str]


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at_level(*flags: str) -> click.Context:
    """A context as it is inside a command called with ``flags``."""

    @click.command()
    @options.verbosity
    def command() -> None:
        """Nothing."""

    return command.make_context("command", list(flags))


def test_quiet_keeps_warnings(capsys: Captured) -> None:
    with at_level("-q"):
        console.say("said")
        console.detail("in detail")
        console.warn("careful")
        with console.progress("work") as progress:
            progress.start(2, "images")
            progress.advance(2)
            progress.note("a.jpg")
            progress.warn("b.jpg: skipped")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "warning: careful\nwarning: b.jpg: skipped\n")


def test_usual_and_verbose(capsys: Captured) -> None:
    with at_level():
        console.say("said")
        console.detail("in detail")
    assert capsys.readouterr().err == "said\n"
    with at_level("--verbose"):
        console.say("said")
        console.detail("in detail")
    assert capsys.readouterr().err == "said\nin detail\n"


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(click.UsageError, match="exclude each other"):
        at_level("-q", "-v")


def test_table_when_piped_is_plain_and_whole(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "a class name " * 12
    console.table(["class", "AP", "objects"], [[long, 0.5, 12], ["日本 [red]", None, "1,204"]], ["mean", 0.25, ""])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert len(lines) == 4
    width = len(long.strip())
    assert lines[0] == f"{'class':<{width}}    AP  objects"
    assert lines[1] == f"{long.strip()}   0.5       12"
    assert lines[2] == f"日本 [red]{' ' * (width - 10)}     -    1,204"
    assert lines[3] == f"{'mean':<{width}}  0.25"
    assert out.replace("\n", "").isprintable()


def test_sheet_when_piped(capsys: Captured) -> None:
    console.sheet("a.h5", [("kind", "proposals"), ("made by", "x" * 120), ("", "more")])
    assert capsys.readouterr().out == f"a.h5\n  kind     proposals\n  made by  {'x' * 120}\n           more\n"


def test_json_is_strict(capsys: Captured) -> None:
    @dataclass
    class Summary:
        path: Path
        scores: tuple[float, ...]

    console.print_json(
        {
            "summary": Summary(Path("a/b"), (math.nan, 0.5)),
            "array": np.array([[1, 2]], dtype=np.int64),
            "number": np.float32(0.25),
            "flag": np.bool_(True),
            "far": -math.inf,
            "name": "größe",
        }
    )
    text = capsys.readouterr().out
    assert "größe" in text
    assert json.loads(text, parse_constant=pytest.fail) == {
        "summary": {"path": "a/b", "scores": [None, 0.5]},
        "array": [[1, 2]],
        "number": 0.25,
        "flag": True,
        "far": None,
        "name": "größe",
    }


def test_progress_in_a_log_is_a_line_now_and_then(capsys: Captured) -> None:
    clock = Clock()
    progress = console._Plain("propose", clock)
    progress.start(1000, "images")
    for _ in range(1000):
        clock.now += 0.1
        progress.advance()
    progress.finish()
    lines = capsys.readouterr().err.splitlines()
    # 100 seconds of work: every tenth of it is 10 seconds.
    assert len(lines) == 10
    assert lines[0] == "propose: 100/1000 images, 10%, 10/s, 1 min 30 s left"
    assert lines[-1] == "propose: 1000 images in 1 min 40 s (10 images/s)"


def test_progress_of_fast_work_is_one_line(capsys: Captured) -> None:
    clock = Clock()
    progress = console._Plain("propose", clock)
    progress.start(1000, "images")
    for _ in range(1000):
        clock.now += 0.001
        progress.advance()
    progress.finish()
    assert capsys.readouterr().err == "propose: 1000 images in 1.0 s (1000 images/s)\n"


def test_progress_of_slow_items_speaks_every_ten_seconds_and_names_them(capsys: Captured) -> None:
    clock = Clock()
    progress = console._Plain("train", clock)
    progress.start(20, "classes")
    for name in "abc":
        clock.now += 11
        progress.note(f"class {name}")
        progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 0/20 classes, 0%, class a"
    assert lines[-1].startswith("train: 2/20 classes, 10%, 0.0")
    assert lines[-1].endswith("class c")
    assert len(lines) == 3


def test_items_found_do_not_count_as_speed() -> None:
    clock = Clock()
    meter = Meter(1000, clock, 900)
    for _ in range(10):
        clock.now += 1
        meter.advance(1)
    assert meter.found == 900
    assert meter.rate == pytest.approx(1.0)
    assert meter.remaining == pytest.approx(90.0)


def test_rate_is_the_recent_one() -> None:
    clock = Clock()
    meter = Meter(0, clock)
    for _ in range(100):
        clock.now += 0.1
        meter.advance(1)
    for _ in range(40):
        clock.now += 2
        meter.advance(1)
    assert meter.rate == pytest.approx(0.5, rel=0.1)
    assert meter.mean_rate == pytest.approx(140 / 90)
    assert meter.remaining is None


def test_a_new_piece_of_work_ends_the_one_before(capsys: Captured) -> None:
    clock = Clock()
    progress = console._Plain("detect", clock)
    progress.start(3, "images")
    clock.now += 2
    progress.advance(3)
    progress.start(2, "classes")
    clock.now += 4
    progress.advance(2)
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "detect: 3 images in 2.0 s (1.5 images/s)",
        "detect: 2 classes in 4.0 s (0.5 classes/s)",
    ]


def test_no_summary_after_an_error(capsys: Captured) -> None:
    def fail() -> None:
        with console.progress("work") as progress:
            progress.start(5, "images")
            progress.advance()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


SCRIPT = """
import time
from sppcli.cli import console
with console.progress("propose") as progress:
    progress.start(4, "images")
    for i in range(4):
        progress.note("[bold]a.jpg")
        time.sleep(0.3)
        progress.advance()
        if i == 1:
            progress.warn("a.jpg: damaged [x]")
            print("result")
console.table(["class", "AP"], [["[red]disc", 0.5]])
"""


def on_terminal(piped_results: bool, **environment: str) -> tuple[str, str]:
    """What `SCRIPT` writes to a terminal, and to standard output if that is a pipe."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdout=subprocess.PIPE if piped_results else follower,
            stderr=follower,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
        )
        os.close(follower)
        shown = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # Linux's way of saying that the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        results = process.stdout.read().decode() if process.stdout else ""
        if process.stdout:
            process.stdout.close()
        assert process.wait() == 0, shown.decode()
    finally:
        os.close(leader)
    return shown.decode(), results


def test_terminal_has_a_bar_and_leaves_results_alone() -> None:
    shown, results = on_terminal(piped_results=True)
    assert results == "result\nclass       AP\n[red]disc  0.5\n"
    assert "━" in shown
    assert "1/4 images" in shown
    assert "[bold]a.jpg" in shown
    assert "a.jpg: damaged [x]" in shown
    assert "propose: 4 images in 1." in shown


def test_terminal_without_colour() -> None:
    shown, _ = on_terminal(piped_results=False, NO_COLOR="1")
    assert "[red]disc" in shown
    assert "result" in shown
    # Codes that move the cursor or make bold may stay.
    colours = [f"\x1b[{code}m" for code in (*range(30, 38), *range(90, 98))]
    assert [code for code in colours if code in shown] == []
    assert "\x1b[33m" in on_terminal(piped_results=False, NO_COLOR="")[0]


def test_a_warning_is_broken_between_words_and_not_indented() -> None:
    shown, _ = on_terminal(piped_results=True, COLUMNS="20")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")
    assert "warning: a.jpg:\ndamaged [x]\n" in plain.replace("\n\n", "\n"), plain


def test_dumb_terminal_gets_plain_lines() -> None:
    shown, results = on_terminal(piped_results=True, TERM="dumb")
    assert shown.replace("\r\n", "\n").startswith("warning: a.jpg: damaged [x]\n")
    assert "\x1b" not in shown
    assert results.startswith("result\n")


def test_one_is_singular(capsys: Captured) -> None:
    """Whatever unit a stage counts in."""
    for unit in ("images", "classes", "annotations", "steps", "epochs", "boxes", "batches", "rounds of crops"):
        progress = console._Plain("work", Clock())
        progress.start(1, unit)
        progress.advance()
        progress.finish()
    units = [line.split()[2] for line in capsys.readouterr().err.splitlines()]
    assert units == ["image", "class", "annotation", "step", "epoch", "box", "batch", "round"]
