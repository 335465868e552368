"""Text as a terminal may have it: names in files of others may hold sequences that clear, colour or retitle it."""

from __future__ import annotations

import re

from sppcli.runtime.urls import with_urls

_CONTROL = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing
    "\u2028\u2029"  # ends of lines
    "\ud800-\udfff"  # halves of surrogate pairs, as undecodable file names have
    "]"
)


def printable(text: str) -> str:
    """``text`` with control characters as escapes, ``\\x1b``, and URLs as they were given; tabs and line ends stay."""
    text = with_urls(text)
    return text if text.isascii() and text.isprintable() else _CONTROL.sub(_escape, text)


def printable_json(text: str) -> str:
    """JSON with the control characters of its texts as JSON's own escapes."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", with_urls(text))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
