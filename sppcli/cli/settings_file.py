"""Writes ``spp.toml``: sections with a comment above each value, taken from the help of its option."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
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
