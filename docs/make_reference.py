"""Write docs/reference.md from the commands' own help, and the first table of docs/formats.md from their registry.

With ``--check``, fail if one of them is stale.

python docs/make_reference.py
python docs/make_reference.py --check
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sppcli.cli.helpful import EVERYTHING
from sppcli.cli.main import spp
from sppcli.datasets.formats import FORMATS

REFERENCE = Path(__file__).with_name("reference.md")
FORMATS_PAGE = Path(__file__).with_name("formats.md")
_TABLE = "| name | format | recognised by |\n|---|---|---|\n"
_WIDTH = 100
_HEAD = """\
# Command reference

The output of `spp --help` and of `spp COMMAND --help-all` for every command.
Written by `python docs/make_reference.py`;
do not edit it by hand.
"""


def sections(command: click.Command, context: click.Context) -> list[str]:
    """``--help-all`` of a command, as it looks on a terminal 100 columns wide, and of the commands in it."""
    found = [f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found += sections(inner, click.Context(inner, info_name=name, parent=context, **inner.context_settings))
    return found


def reference() -> str:
    root = click.Context(spp, info_name="spp", terminal_width=_WIDTH, **spp.context_settings)
    root.meta[EVERYTHING] = True
    return "\n".join([_HEAD, *sections(spp, root)])


def formats_page() -> str:
    """The page as it stands, with one row for each format in its first table."""
    before, head, after = FORMATS_PAGE.read_text(encoding="utf-8").partition(_TABLE)
    rows = [f"| `{form.name}` | {form.title} | {form.marks.replace('<', '&lt;')} |\n" for form in FORMATS]
    return "".join([before, head, *rows, "\n", after[after.index("\n\n") + 2 :]])


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/make_reference.py [--check]", file=sys.stderr)
        return 2
    made = {REFERENCE: reference(), FORMATS_PAGE: formats_page()}
    if not arguments:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"docs/{path.name} is not what the program says; run python docs/make_reference.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
