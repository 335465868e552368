"""The scripts in docs/cluster.md: parsed by the shell, and their commands by the program."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from sppcli.cli.main import spp

PAGE = Path(__file__).parent.parent / "docs" / "cluster.md"
SCRIPTS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SLURM = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "64", "SLURM_CPUS_PER_TASK": "4"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda text: text.split("\n")[0][:40])
def test_the_shell_reads_it(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands() -> list[list[str]]:
    """Every ``spp`` command on the page, with the variables that Slurm sets."""
    found = []
    for line in "\n".join(SCRIPTS).replace("\\\n", " ").split("\n"):
        for name, value in SLURM.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line, comments=True)
        if words[:1] == ["pip"]:
            continue
        for text in [words, *(shlex.split(word) for word in words if word.startswith("spp "))]:
            if "spp" in text:
                found.append(text[text.index("spp") + 1 :])
    return found


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_the_program_reads_its_commands(arguments: list[str]) -> None:
    command = spp.get_command(click.Context(spp), arguments[0])
    assert command is not None
    command.make_context(arguments[0], arguments[1:])
