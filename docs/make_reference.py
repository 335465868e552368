"""Write docs/reference.md from the commands' own help; with ``--check``, fail if it is stale.

python docs/make_reference.py
python docs/make_reference.py --check
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sppcli.cli.main import COMMANDS, spp

REFERENCE = Path(__file__).with_name("reference.md")
_WIDTH = 100
_HEAD = """\
# Command reference

The output of `spp --help` and of `spp COMMAND --help` for every command. Written by `python docs/make_reference.py`;
do not edit it by hand.
"""


def help_of(name: str | None) -> str:
    """``--help`` of a command, or of ``spp`` itself, as it looks on a terminal 100 columns wide."""
    root = click.Context(spp, info_name="spp", terminal_width=_WIDTH, **spp.context_settings)
    if name is None:
        return spp.get_help(root)
    command = spp.get_command(root, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=root, **command.context_settings)
    return command.get_help(context)


def reference() -> str:
    parts = [_HEAD, f"## spp\n\n```text\n{help_of(None)}\n```\n"]
    parts += [f"## spp {name}\n\n```text\n{help_of(name)}\n```\n" for name in COMMANDS]
    return "\n".join(parts)


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
