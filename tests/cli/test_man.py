"""The manual pages say all that ``--help-all`` says, in roff that formatters take without a word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which

import click
import pytest

from sppcli import errors
from sppcli.cli import man_pages, roff
from sppcli.cli.config import variable_of
from sppcli.cli.help_pages import EXAMPLES, EXIT_CODES
from sppcli.cli.helpful import name_variables
from sppcli.cli.main import main, spp
from tests.conftest import Run

PAGES = {item.command_path: man_pages.page(item) for item in man_pages.contexts(spp)}
CONTEXTS = {item.command_path: item for item in man_pages.contexts(spp)}
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"]
MACROS = {"TH", "SH", "SS", "TP", "PP", "EX", "EE", "RS", "RE", "nr", "hy", "ad"}


def faults(page: str) -> list[str]:
    """Lines that roff would not take as they are meant."""
    found = []
    for line in page.splitlines():
        name = re.match(r"\.([A-Za-z]+)", line)
        if line.startswith(r".\"") or (name and name[1] in MACROS):
            continue
        bare = re.sub(r"\\(?:f[BIR]|-|&|\((?:rs|aq|ga|ha|ti|dq)|\[u[0-9A-F]{4,5}\])", "", line)
        if line[:1] in (".", "'") or re.search(r"[\\'`^~\"-]", bare) or not bare.isascii() or not line:
            found.append(line)
    return found


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_every_option_and_section(path: str) -> None:
    context, page = CONTEXTS[path], PAGES[path]
    options = [item for item in context.command.get_params(context) if isinstance(item, click.Option)]
    flags = {flag for item in options if not item.hidden for flag in (*item.opts, *item.secondary_opts)}
    for flag in flags:
        assert rf"\fB{flag.replace('-', chr(92) + '-')}\fR" in page, flag
    titles = re.findall(r"^\.SH \"(.*)\"$", page, re.MULTILINE)
    assert [title for title in titles if title in SECTIONS] == [
        title for title in SECTIONS if title != "EXAMPLES" or context.parent
    ]
    assert faults(page) == []


def test_examples_files_and_commands_are_there() -> None:
    for name, examples in EXAMPLES.items():
        for typed, _ in examples:
            assert f"\n{roff.line(typed)}\n" in PAGES[f"spp {name}"]
    assert '.SH "FILES"\n.TP\n\\fIproposals.h5\\fR\nThe file made by' in PAGES["spp extract"]
    assert "runs.jsonl" in PAGES["spp evaluate"]
    for item in CONTEXTS.values():
        if item.parent and not item.parent.parent:
            assert f"\\fBspp\\-{str(item.info_name).replace('-', chr(92) + '-')}\\fR(1)\n" in PAGES["spp"]
    assert "spp\\-bench\\-rcnn\\fR(1)" in PAGES["spp bench"]


@pytest.mark.parametrize("path", [path for path in PAGES if path != "spp"])
def test_the_variable_that_a_page_names_is_read(path: str) -> None:
    context = CONTEXTS[path]
    name = re.search(r'SH "ENVIRONMENT"\n\.TP\n\\fB(SPP_\w+)\\fR\nSets \\fB(\S+)\\fR', PAGES[path])
    assert name
    name_variables(context.command, path.replace(" ", "_").replace("-", "_").upper())
    flags = {flag: item for item in context.command.params for flag in item.opts}
    assert variable_of(context, flags[name[2].replace("\\", "")]) == name[1]


def test_what_roff_would_take_for_its_own_is_escaped() -> None:
    @click.command("odd", epilog="")
    @click.option("--dot", help=r".png or C:\dir, 'quoted' and ~/x^2 `y` of Müller.")
    def odd(dot: str) -> None:
        """Ends in \\fB and "quotes".

        .SH is no section

        \b
        .br stands as it is
        'so does this
        """

    page = man_pages.page(click.Context(odd, info_name="odd"))
    assert faults(page) == []
    assert "\n\\&.SH is no section\n" in page
    assert "\n\\&.br stands as it is\n\\(aqso does this\n" in page
    assert r"\&.png or C:\(rsdir, \(aqquoted\(aq and \(ti/x\(ha2 \(gay\(ga of M\[u00FC]ller." in page
    assert faults(".SHx\nfine\n'no\na-b\n\\d\n") == [".SHx", "'no", "a-b", "\\d"]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("groff", ["-man", "-ww", "-Tutf8", "-z"]), ("mandoc", ["-T", "lint", "-W", "warning"])],
)
def test_formatters_have_nothing_to_say(run: Run, tmp_path: Path, program: str, arguments: list[str]) -> None:
    if which(program) is None:
        pytest.skip(f"there is no {program}")
    assert run("man", "--install", str(tmp_path))[0] == 0
    files = sorted(map(str, (tmp_path / "man1").iterdir()))
    done = subprocess.run([program, *arguments, *files], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_man_shows_a_page() -> None:
    if which("man") is None:
        pytest.skip("there is no man")
    command = [sys.executable, "-m", "sppcli", "man", "train-svm"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if "minimized" in done.stdout:
        pytest.skip("man is a stub here")
    assert done.returncode == 0, done.stderr
    assert "SPP-TRAIN-SVM(1)" in done.stdout
    assert "train one linear SVM per class" in done.stdout


def test_without_man_it_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run("man", "propose")
    assert code == 3
    assert "no program man on this machine; 'spp propose --help-all' says most of it" in err
    failing = tmp_path / "man"
    failing.write_text("#!/bin/sh\nexit 16\n")
    failing.chmod(0o755)
    code, _, err = run("man")
    assert code == 3
    assert f"{failing} could not show the page (exit status 16)" in err


def test_install_writes_all_and_spares_others(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "share" / "man"
    code, out, _ = run("man", "--install", str(place))
    assert code == 0
    assert out == f"{len(PAGES)} pages in {place}/man1; 'man spp-propose' shows one\n"
    kept = {path.stem: path.read_text(encoding="utf-8") for path in (place / "man1").iterdir()}
    assert kept == {path.replace(" ", "-"): page for path, page in PAGES.items()}
    assert run("man", "--install", str(place))[0] == 0
    other = place / "man1" / "spp-run.1"
    other.write_text(".TH mine 1\n")
    code, _, err = run("man", "--install", str(place))
    assert code == 2
    assert f"{other} is there already and was not made by spp" in err
    assert other.read_text() == ".TH mine 1\n"
    assert run("man", "--install", str(place), "--overwrite")[0] == 0
    assert other.read_text(encoding="utf-8") == PAGES["spp run"]


def test_roff_is_the_page_whatever_the_folder_sets(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spp.toml").write_text("[extract]\nscales = [480\n")
    monkeypatch.setenv("SPP_EXTRACT_SCALES", "300")
    assert run("man", "extract", "--roff") == (0, PAGES["spp extract"], "")
    assert run("man", "bench", "rcnn", "--roff") == (0, PAGES["spp bench rcnn"], "")
    assert run("man", "--roff") == (0, PAGES["spp"], "")


def test_a_packager_sets_the_date(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "\n.TH SPP-INFO 1 1970-01-02 " in run("man", "info", "--roff")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["detct"], "No such command 'detct'. Did you mean 'detect'?"),
        (["predict"], "Did you mean 'detect'?"),
        (["bench", "fast"], "spp bench has no command 'fast'"),
        (["info", "--install", "x"], "leave out COMMAND and --roff"),
        (["--roff", "--install", "x"], "leave out COMMAND and --roff"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str], said: str) -> None:
    code, _, err = run("man", *arguments)
    assert code == 2
    assert said in err


def test_exit_codes_are_those_of_the_errors() -> None:
    kinds = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.SppError)]
    assert {kind.exit_code for kind in kinds} < set(EXIT_CODES)
    assert main(["no-such-command"]) in EXIT_CODES
