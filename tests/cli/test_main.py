"""Every way out of ``spp``: exit code, and what is said."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

import sppcli
from sppcli.cli import main as entry
from sppcli.cli import options
from sppcli.cli.main import COMMANDS, SUMMARIES, main
from sppcli.errors import BadArtefact, BadInput, MissingInput, StaleArtefact, UsageProblem
from tests.conftest import Voc

Raises = Callable[[BaseException], list[str]]


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Raises:
    """``raising(error)``: arguments of a command that raises it."""

    def plant(error: BaseException) -> list[str]:
        @click.command()
        @options.verbosity
        def command() -> None:
            """Raise."""
            raise error

        module = ModuleType("spp_probe")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "spp_probe", module)
        monkeypatch.setitem(COMMANDS, "probe", "spp_probe")
        return ["probe"]

    return plant


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (MissingInput("a.h5: there is no such file"), 3, "spp probe: error: a.h5: there is no such file"),
        (BadInput("b.jpg: damaged\n  image"), 3, "spp probe: error: b.jpg: damaged image"),
        (BadArtefact("c.h5: not HDF5"), 3, "spp probe: error: c.h5: not HDF5"),
        (StaleArtefact("d.h5: from other proposals"), 4, "spp probe: error: d.h5: from other proposals"),
        (UsageProblem("pick one"), 2, "spp probe: error: pick one"),
        (click.FileError("e.txt", "cannot open"), 3, "spp probe: error: Could not open file 'e.txt': cannot open"),
        (
            MemoryError(),
            3,
            "spp probe: error: out of memory; use fewer processes (-j), a smaller --batch or smaller --scales, or a "
            "machine with more memory",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/big/features.h5"),
            3,
            "spp probe: error: /big/features.h5: the disk is full; free some space or name another place with -o, "
            "and run it again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out.h5"),
            3,
            "spp probe: error: out.h5: permission denied; change the permissions or name another place",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_the_user_can_mend_is_one_line(
    raising: Raises, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert main(raising(error)) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", line + "\n")


def test_gpu_memory_is_memory(raising: Raises, capsys: pytest.CaptureFixture[str]) -> None:
    out_of_memory = type("OutOfMemoryError", (RuntimeError,), {})
    assert main(raising(out_of_memory("CUDA out of memory. Tried to allocate 1 GiB"))) == 3
    assert capsys.readouterr().err.startswith("spp probe: error: out of memory;")


@pytest.mark.parametrize(
    "error",
    [ValueError("shapes differ"), OSError(errno.EIO, "Input/output error"), AssertionError(), BrokenPipeError(32, "")],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_shows_its_traceback(raising: Raises, capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    """A pipe to a worker that died breaks like one to ``head``; only the latter is no fault."""
    assert main(raising(error)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert type(error).__name__ in lines[-2]
    assert lines[-1].startswith("spp probe: error: this is a bug in spp ")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=lambda error: type(error).__name__)
def test_interrupted(raising: Raises, capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    assert main(raising(error)) == 130
    assert capsys.readouterr().err.strip().startswith("spp probe: interrupted;")


def test_done_and_asked_exits(raising: Raises, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("spp ")
    assert main(raising(click.exceptions.Exit(5))) == 5
    with pytest.raises(SystemExit):
        main(raising(SystemExit(7)))


def test_misspelt_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propse", "x"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "Error: No such command 'propse'. Did you mean 'propose'?"
    assert main(["zzz"]) == 2
    assert "The commands are init, run, check, propose, extract, " in capsys.readouterr().err


def test_misspelt_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--min-scor", "1"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "--min-scor" in last
    assert "Did you mean" in last
    assert "--min-score" in last


def test_commands_are_imported_when_asked_for(monkeypatch: pytest.MonkeyPatch, raising: Raises) -> None:
    """One broken or slow command does not touch the others."""
    arguments = raising(BadInput("x"))
    monkeypatch.setitem(COMMANDS, "broken", "no.such.module")
    assert main(arguments) == 3
    assert main(["broken"]) == 1


def test_complete_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_SPP_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "spp sh")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert main([]) == 0
    assert capsys.readouterr().out.split() == ["plain,show"]


def run_into_closed_pipe(stream: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and standard error of spp whose ``stream`` is a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        if stream == "stdout":
            done = subprocess.run(
                [sys.executable, "-m", "sppcli", *arguments],
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            return done.returncode, done.stderr
        done = subprocess.run(
            [sys.executable, "-m", "sppcli", *arguments], stdout=writing, stderr=writing, text=True, check=False
        )
        return done.returncode, ""
    finally:
        os.close(writing)


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--help"], ["--version"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    assert run_into_closed_pipe("stdout", arguments) == (0, "")


def shell(line: str, folder: Path) -> tuple[int, str, str]:
    """``line`` in a shell, where ``$SPP`` is the command."""
    command = {**os.environ, "SPP": f"{sys.executable} -m sppcli", "PYTHONPATH": str(Path(sppcli.__file__).parents[1])}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_quiet_and_what_is_made_is_whole(closed: str, voc: Voc, tmp_path: Path) -> None:
    line = f"$SPP convert {voc.root} out --to csv {closed} && $SPP convert out again --to csv -q"
    code, out, err = shell(line, tmp_path)
    assert (code, "Traceback" in out + err) == (0, False)
    assert (tmp_path / "again" / "annotations.csv").read_bytes() == (tmp_path / "out" / "annotations.csv").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_a_full_standard_output_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    code, _, err = shell("$SPP --version > /dev/full", tmp_path)
    assert (code, err) == (
        3,
        "spp: error: the disk is full; free some space or name another place with -o, and run it again\n",
    )
    assert shell("$SPP info nothing.h5 2> /dev/full", tmp_path)[0] == 3


def test_no_reader_at_all() -> None:
    assert run_into_closed_pipe("both", ["info", "--help"]) == (0, "")


def test_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sppcli", "info", "nowhere.h5"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr == "spp info: error: nowhere.h5: there is no such file\n"


def test_every_command_module_names_its_command() -> None:
    context = click.Context(entry.spp)
    for name in entry.spp.list_commands(context):
        command = entry.spp.get_command(context, name)
        assert command is not None
        assert command.name == name


def test_summaries_are_the_first_sentences_of_the_commands() -> None:
    context = click.Context(entry.spp)
    commands = {name: entry.spp.get_command(context, name) for name in COMMANDS}
    assert list(SUMMARIES) == list(COMMANDS)
    assert {name: command.get_short_help_str(1000) for name, command in commands.items() if command} == SUMMARIES
