"""How soon ``spp`` prints its help, compared with a program of click alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sppcli.bench.measure import Machine, Row, alternated

# What an installed ``spp`` consists of.
_ENTRY = "import sys\nfrom sppcli.cli.main import main\nsys.exit(main())\n"
_BARE = """
import click


@click.group()
def program():
    \"\"\"A program.\"\"\"


@program.command()
@click.option("--times", default=1, show_default=True, help="So often.")
def hello(times):
    \"\"\"Say hello.\"\"\"


program()
"""
_EMPTY = "pass\n"
_NAMES = "from sppcli.cli.main import COMMANDS\nprint(*COMMANDS)\n"


def rows(machine: Machine, commands: Sequence[str] | None = None, repeat: int = 5) -> list[Row]:
    """Seconds until ``spp --help`` and ``spp COMMAND --help`` have ended, each in a process of its own.

    Peer: ``--help`` of a click program with one command, or of that command. Floor: Python itself, told to do nothing.
    Of the ``commands`` (default: all) the slowest is given. ``machine`` is not needed: nothing here is arithmetic.
    """
    with TemporaryDirectory() as folder:
        programs = {name: Path(folder, name + ".py") for name in ("spp", "bare", "empty", "names")}
        for path, text in zip(programs.values(), (_ENTRY, _BARE, _EMPTY, _NAMES), strict=True):
            path.write_text(text, encoding="utf-8")
        commands = said(programs["names"]).split() if commands is None else commands
        calls: dict[str, Callable[[], str]] = {
            "empty": partial(said, programs["empty"]),
            "bare": partial(said, programs["bare"], "--help"),
            "bare hello": partial(said, programs["bare"], "hello", "--help"),
            "spp": partial(said, programs["spp"], "--help"),
        }
        calls |= {name: partial(said, programs["spp"], name, "--help") for name in commands}
        seconds = alternated(calls, repeat)
    slowest = max(commands, key=lambda name: seconds[name])
    floor, floor_of = seconds["empty"], "Python, doing nothing"
    return [
        Row("start", "spp --help", seconds["spp"], floor, floor_of, "click alone", seconds["bare"]),
        Row(
            "start",
            f"spp {slowest} --help, the slowest of {len(commands)}",
            seconds[slowest],
            floor,
            floor_of,
            "click alone",
            seconds["bare hello"],
        ),
    ]


def said(program: Path, *arguments: str) -> str:
    """What a Python file prints when run with this Python and this package.

    Raises:
        CalledProcessError: it failed.
    """
    environment = dict(os.environ)
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(program), *arguments], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout
