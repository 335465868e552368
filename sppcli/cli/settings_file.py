"""Writes ``spp.toml``: sections with a comment above each value, taken from the help of its option."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from sppcli.cli import config

WIDTH = 100


def written(
    group: click.Group, sections: Mapping[str, Mapping[str, Any]], head: str, remarks: Mapping[str, str]
) -> str:
    """The text of ``spp.toml``.

    Args:
        sections: section -> key -> value; empty ones are left out.
        head: the comment at the top.
        remarks: comments of whole sections, and of keys as ``section.key`` in place of the option's help.
    """
    context = click.Context(group, info_name=group.name)
    parts = [_comment(head)]
    for name, values in sections.items():
        if not values:
            continue
        command = group.get_command(context, name)
        keys = config.keys_of(command) if command else {}
        lines = [f"[{name}]"]
        if name in remarks:
            lines.insert(0, _comment(remarks[name]))
        for key, value in values.items():
            said = remarks.get(f"{name}.{key}") or (keys[key].help if key in keys else "") or ""
            lines += [*([_comment(said)] if said else []), f"{key} = {toml_value(value)}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def changed(text: str, values: Sequence[tuple[str, str, Any]]) -> str:
    """``text`` of an ``spp.toml`` with (section, key, value) set, and everything else, comments too, as it was."""
    lines = text.splitlines()
    for section, key, value in values:
        line = f"{key} = {toml_value(value)}"
        heads = [row for row, found in enumerate(lines) if found.strip().split("#")[0].strip() == f"[{section}]"]
        if not heads:
            lines += [*([""] if lines else []), f"[{section}]", line]
            continue
        start = heads[0] + 1
        end = next((row for row in range(start, len(lines)) if lines[row].lstrip().startswith("[")), len(lines))
        rows = [row for row in range(start, end) if lines[row].split("=")[0].strip().replace("_", "-") == key]
        if rows:
            lines[rows[0]] = line
        else:
            lines.insert(start, line)
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A number, text, truth value or list of them in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _comment(text: str) -> str:
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, WIDTH - 2) or [""]]
    return "\n".join(f"# {line}".rstrip() for line in lines)
