"""What ``--help`` shows: few options and examples that work; ``--help-all``: every option, in panels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from sppcli.cli import helpful
from sppcli.cli.help_pages import ALIASES, EVERYDAY, EXAMPLES, GROUPS, MACHINE, OUTPUT
from sppcli.cli.main import COMMANDS, SUMMARIES, main, spp
from tests.conftest import Run


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Place, command and context of every command, those in groups too."""
    root = click.Context(spp, info_name="spp", **spp.context_settings)
    for name in COMMANDS:
        command = spp.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root)
        yield name, command, context
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                yield f"{name} {inner.name}", inner, click.Context(inner, info_name=inner.name, parent=context)


ALL = {name: (command, context) for name, command, context in commands()}


def options(command: click.Command) -> set[str]:
    return {flag for item in command.params if isinstance(item, click.Option) for flag in item.opts if flag[:2] == "--"}


def shown(text: str) -> set[str]:
    """Options that stand at the beginning of a line of help."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z0-9-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ALL)
def test_help_is_short_and_help_all_is_whole(run: Run, name: str) -> None:
    command = ALL[name][0]
    code, out, _ = run(*name.split(), "--help")
    assert code == 0
    assert 1 <= len(shown(out)) <= helpful.LARGEST
    code, out, _ = run(*name.split(), "--help-all")
    assert code == 0
    assert options(command) <= shown(out) | {"--no-nms-again"}


@pytest.mark.parametrize("name", ALL)
def test_two_examples_that_parse(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As click parses them, and without running them."""
    examples = EXAMPLES[name]
    assert len(examples) >= 2
    command, context = ALL[name]
    for line, said in examples:
        assert said
        words = shlex.split(line.split(" >")[0])
        prefix = ["spp", *name.split()]
        assert words[: len(prefix)] == prefix
        with command.make_context(name.split()[-1], words[len(prefix) :], parent=context.parent):
            pass


@pytest.mark.parametrize("width", [60, 80])
def test_help_keeps_to_the_width_of_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """But for lines that are typed, which are not broken."""
    monkeypatch.setenv("COLUMNS", str(width))
    for name in ("", *ALL):
        out = run(*name.split(), "--help")[1]
        long = [line for line in out.splitlines() if len(line) > width and "spp " not in line]
        assert long == [], name


def test_tables_name_what_there_is() -> None:
    for name, keys in EVERYDAY.items():
        assert {f"--{key}" for key in keys} <= options(ALL[name][0]), name
        assert len(set(keys)) == len(keys)
    everything = set().union(*(options(command) for command, _ in ALL.values()))
    assert {f"--{key}" for key in (*MACHINE, *OUTPUT)} - everything <= {"--every-checkpoint"}
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(COMMANDS) <= set(named)


@pytest.mark.parametrize("name", ALL)
def test_every_default_is_shown_once(name: str) -> None:
    command, context = ALL[name]
    for item in command.params:
        record = item.get_help_record(context) if isinstance(item, click.Option) else None
        assert record is None or record[1].lower().count("[default") <= 1


@pytest.mark.parametrize("width", [60, 80, 100])
def test_summaries_are_never_cut(run: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = re.sub(r"(?<=whole-)\s+", "", run("--help")[1])
    words = " ".join(words.split())
    for name, summary in SUMMARIES.items():
        assert f"{name} {summary}" in words.replace("- ", "-") or f"{name} {summary}" in words


@pytest.mark.parametrize("alias", ALIASES)
def test_names_of_other_programs_lead_to_ours(run: Run, alias: str) -> None:
    code, _, err = run(alias)
    assert code == 2
    assert f"Did you mean '{ALIASES[alias]}'?" in err
    target = ALIASES[alias].split("'")[0]
    assert target in COMMANDS or target in ("--version", "--help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run: Run, shell: str) -> None:
    code, out, _ = run("completion", shell)
    assert code == 0
    assert f"_SPP_COMPLETE={shell}_complete" in out
    assert main(["completion", "tcsh"]) == 2
