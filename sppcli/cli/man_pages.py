"""The manual pages of ``spp`` and its commands, from what ``--help-all`` shows: click's parameters and `help_pages`."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

import sppcli
from sppcli.cli import roff
from sppcli.cli.help_pages import ENVIRONMENT, EXAMPLES, EXIT_CODES, GROUPS, PANELS, WITHOUT_SETTINGS
from sppcli.cli.helpful import TITLES, panels, place_of, record_of

MARK = rf".\" Written by spp man: spp {sppcli.__version__}"
"""The first line of every page."""

_FLAG = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")
_FILE = re.compile(r"[\w-]+\.(?:h5|jsonl|safetensors|toml|html|json|spp|jpg|png)(?![\w.])")


def contexts(group: click.Group) -> Iterator[click.Context]:
    """A context of ``group``, of each of its commands and of those in them; no file and no variable sets a default."""
    settings = {**group.context_settings, "auto_envvar_prefix": None}
    yield from _within(click.Context(group, info_name=group.name, **settings))


def _within(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            inner = context.command.get_command(context, name)
            assert inner is not None
            yield from _within(click.Context(inner, info_name=name, parent=context, **inner.context_settings))


def page_name(context: click.Context) -> str:
    """``spp-bench-rcnn``: what ``man`` is asked for."""
    return context.command_path.replace(" ", "-")


def page(context: click.Context) -> str:
    """The page of a command of `contexts`, in roff."""
    sections = {
        "NAME": _name(context),
        "SYNOPSIS": _synopsis(context),
        "DESCRIPTION": roff.paragraphs(_marked(_help(context))),
        "COMMANDS": _commands(context),
        "OPTIONS": _options(context),
        "EXAMPLES": _examples(context),
        "FILES": _files(context),
        "EXIT STATUS": _exits(),
        "ENVIRONMENT": _environment(context),
        "SEE ALSO": _see_also(context),
    }
    version = f"spp {sppcli.__version__}"
    # Formatters read the name and the date as they stand.
    lines = [MARK, f'.TH {page_name(context).upper()} 1 {_date()} "{version}" "Manual of spp"']
    # No hyphen that is not typed, and no wide blanks.
    lines += [".nr HY 0", ".hy 0", ".ad l"]
    for title, content in sections.items():
        if found := list(content):
            lines += [roff.macro("SH", title), *found]
    return "\n".join([*lines, ""])


def _date() -> str:
    """Of this version: when its files were written, or SOURCE_DATE_EPOCH where a packager says so."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = float(seconds) if seconds.isdecimal() else Path(sppcli.__file__).stat().st_mtime
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")


def _help(context: click.Context) -> str:
    return inspect.cleandoc(context.command.help or "").partition("\f")[0]


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=\.)\s+(?=[A-Z\[])", " ".join(text.split()))[0]


def _marked(text: str) -> str:
    """Options and commands that a text names, in bold."""
    return re.sub(r"(?<![\w/-])spp [a-z][a-z-]+(?![\w/-]|\.\w)", lambda found: roff.bold(found[0]), _flags(text))


def _flags(text: str) -> str:
    return _FLAG.sub(lambda found: roff.bold(found[0]), text)


def _name(context: click.Context) -> Iterator[str]:
    summary = _first(_help(context).split("\n\n")[0]).rstrip(".")
    if summary[1:2].islower():
        summary = summary[0].lower() + summary[1:]
    yield f"{roff.line(page_name(context))} \\- {roff.line(summary)}"


def _synopsis(context: click.Context) -> Iterator[str]:
    pieces = context.command.collect_usage_pieces(context)
    yield roff.line(" ".join([roff.bold(context.command_path), *(roff.italic(piece) for piece in pieces)]))


def _commands(context: click.Context) -> Iterator[str]:
    below = {item.info_name or "": item for item in _within(context) if item.parent is context}
    if not below:
        return
    named = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "Others": tuple(name for name in below if name not in named)}
    if context.parent:
        groups = {"": tuple(below)}
    for heading, names in groups.items():
        if heading and any(name in below for name in names):
            yield roff.macro("SS", heading)
        for name in names:
            if name in below:
                summary = _help(below[name]).split("\n\n")[0]
                yield from roff.tagged(f"{roff.bold(page_name(below[name]))}(1)", " ".join(summary.split()))


def _options(context: click.Context) -> Iterator[str]:
    found = panels(context.command, context)
    shown = {id(item) for options in found.values() for item in options}
    rest = [item for item in context.command.get_params(context) if isinstance(item, click.Option)]
    helps = [item for item in rest if id(item) not in shown and not item.hidden]
    for title, options in (*((TITLES[name], found[name]) for name in PANELS), ("Help", helps)):
        records = [record for item in options if (record := record_of(item, context))]
        if records:
            yield roff.macro("SS", title)
        for flags, text in records:
            yield from roff.tagged(_flags_and_values(flags), _marked(text))


def _flags_and_values(text: str) -> str:
    """``-o, --output FILE``: what is typed in bold, what stands for a value in italics."""
    words = []
    for word in text.split(" "):
        bare = word.rstrip(",")
        marked = roff.bold(bare) if bare.startswith("-") else bare if bare == "/" else roff.italic(bare)
        words.append(marked + word[len(bare) :])
    return " ".join(words)


def _examples(context: click.Context) -> Iterator[str]:
    for index, (typed, said) in enumerate(EXAMPLES.get(place_of(context), ())):
        if index:
            yield ".PP"
        yield from roff.filled(f"{said[0].upper()}{said[1:]}:")
        yield ".RS 4"
        yield from roff.verbatim([typed])
        yield ".RE"


def _files(context: click.Context) -> Iterator[str]:
    """Names of files among the defaults of options, and what the options say of them."""
    seen = {"spp.toml"}
    for item in context.command.params:
        record = record_of(item, context) if isinstance(item, click.Option) and not item.hidden else None
        shown = re.search(r"\[default: ([^\]]*)", record[1]) if record else None
        names = [name for name in _FILE.findall(shown[1]) if name not in seen] if shown else []
        if record and names:
            seen |= set(names)
            tag = ", ".join(map(roff.italic, names))
            yield from roff.tagged(tag, _marked(f"{_first(record[1])} See {item.opts[-1]}."))
    if _takes_settings(context):
        text = "Values of options in this folder; spp init writes it, and spp config shows what it sets."
        yield from roff.tagged(roff.italic("spp.toml"), _marked(text))


def _takes_settings(context: click.Context) -> bool:
    return context.parent is None or context.command_path.split()[1] not in WITHOUT_SETTINGS


def _exits() -> Iterator[str]:
    for code, text in EXIT_CODES.items():
        yield from roff.tagged(str(code), text)


def _environment(context: click.Context) -> Iterator[str]:
    options = [item for panel in panels(context.command, context).values() for item in panel]
    flags = [flag for item in options if item.allow_from_autoenv for flag in item.opts if flag.startswith("--")]
    if flags and context.parent:
        prefix = f"{context.command_path}_".replace(" ", "_").replace("-", "_").upper()
        name = prefix + flags[0][2:].replace("-", "_").upper()
        text = f"Sets {flags[0]}. Each option has such a variable: {prefix} and its name in capitals, with _ for -. "
        text += f"A flag wins over it{', and it wins over spp.toml' if _takes_settings(context) else ''}."
        yield from roff.tagged(roff.bold(name), _flags(text))
    elif not context.parent:
        text = "Sets an option of a command: SPP_EXTRACT_SCALES=480,688 is --scales of spp extract. "
        text += "A flag wins over it, and it wins over spp.toml."
        yield from roff.tagged(f"{roff.bold('SPP_')}{roff.italic('COMMAND_OPTION')}", _marked(text))
    for name, (needs, text) in ENVIRONMENT.items():
        if not context.parent or not needs or set(needs) & {flag for item in options for flag in item.opts}:
            yield from roff.tagged(roff.bold(name), _marked(text))


def _see_also(context: click.Context) -> Iterator[str]:
    names = ["spp"] if context.parent else ["spp-init", "spp-run", "spp-config"]
    place = place_of(context) if context.parent else ""
    if context.parent and context.parent.parent:
        names.append(page_name(context.parent))
    for group in GROUPS.values():
        if place in group:
            names += [f"spp-{name}" for name in group if name != place]
    yield roff.line(", ".join(f"{roff.bold(name)}(1)" for name in names))
