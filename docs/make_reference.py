"""Write docs/reference.md from the commands' own help; with ``--check``, fail if it is stale.

python docs/make_reference.py
python docs/make_reference.py --check
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sppcli.cli.main import spp

REFERENCE = Path(__file__).with_name("reference.md")
_WIDTH = 100
_HEAD = """\
# Command reference

The output of `spp --help` and of `spp COMMAND --help` for every command. Written by `python docs/make_reference.py`;
do not edit it by hand.
"""


def sections(command: click.Command, context: click.Context) -> list[str]:
    """``--help`` of a command, as it looks on a terminal 100 columns wide, and of the commands in it."""
    found = [f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found += sections(inner, click.Context(inner, info_name=name, parent=context, **inner.context_settings))
    return found


def reference() -> str:
    root = click.Context(spp, info_name="spp", terminal_width=_WIDTH, **spp.context_settings)
    return "\n".join([_HEAD, *sections(spp, root)])


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/make_reference.py [--check]", file=sys.stderr)
        return 2
    text = reference()
    if not arguments:
        REFERENCE.write_text(text, encoding="utf-8")
        return 0
    if REFERENCE.exists() and REFERENCE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/reference.md is not what the commands say; run python docs/make_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
