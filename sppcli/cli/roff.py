"""Text as man's formatters read it: roff with the macros of man(7).

Every character is escaped that roff would take for something else, or would print as another one: what is typed can
be copied from a page.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

_ESCAPES = {"\\": r"\(rs", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
_BOLD, _ITALIC, _END = "\x01", "\x02", "\x03"
_FONTS = {_BOLD: r"\fB", _ITALIC: r"\fI", _END: r"\fR"}
_WIDTH = 72


def bold(text: str) -> str:
    """``text`` marked as what is typed as it stands."""
    return f"{_BOLD}{text}{_END}"


def italic(text: str) -> str:
    """``text`` marked as what another word stands for."""
    return f"{_ITALIC}{text}{_END}"


def line(text: str) -> str:
    """One line of input; a control character (``.`` or ``'``) at its beginning is none."""
    escaped = "".join(_escape(character) for character in text)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


def filled(text: str) -> Iterator[str]:
    """Lines of text that the formatter fills."""
    words = " ".join(text.split(" "))
    for part in textwrap.wrap(words, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield line(part)


def macro(name: str, *arguments: str) -> str:
    """A line that calls a macro, each argument in quotes."""
    return " ".join([f".{name}", *(f'"{line(item)}"' for item in arguments)])


def tagged(tag: str, text: str) -> Iterator[str]:
    """A paragraph that hangs below ``tag``."""
    yield ".TP"
    yield line(tag)
    yield from filled(text)


def verbatim(lines: Iterable[str]) -> Iterator[str]:
    """Lines as they stand."""
    yield ".EX"
    yield from (line(item) for item in lines)
    yield ".EE"


def paragraphs(text: str) -> Iterator[str]:
    """A command's help: paragraphs, those that begin with click's ``\\b`` verbatim."""
    for index, part in enumerate(re.split(r"\n\s*\n", text.strip())):
        if part.startswith("\b"):
            yield ".PP"
            yield from verbatim(part.split("\n")[1:])
            continue
        if index:
            yield ".PP"
        yield from filled(" ".join(part.split()))


def _escape(character: str) -> str:
    if character in _FONTS:
        return _FONTS[character]
    if character.isascii():
        return _ESCAPES.get(character, character)
    return rf"\[u{ord(character):04X}]"
