"""Reads protocol buffers' text format, in which Caffe's .prototxt files are written.

Only the grammar is known here: fields, nested blocks, lists, comments. `caffe.graph` knows what fields mean, so that
files of every version of Caffe can be read. Nothing in a file is ever executed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sppcli.errors import BadInput, MissingInput
from sppcli.runtime.inputs import read_regular

# Deeper nesting than any description of a network has, but below Python's limit of recursion.
_DEPTH = 50
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<mark>[{}<>:;,\[\]])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_CLOSING = {"{": "}", "<": ">"}


@dataclass
class Block:
    """One message: values by field name, in the order of the file; scalars are kept as text.

    ``path`` and ``line`` are where it begins, for errors.
    """

    path: Path
    line: int
    values: dict[str, list[str | Block]] = field(default_factory=dict)

    def blocks(self, name: str) -> list[Block]:
        """The nested messages called ``name``."""
        return [value for value in self.values.get(name, ()) if isinstance(value, Block)]

    def texts(self, name: str) -> list[str]:
        """The scalars called ``name``."""
        return [value for value in self.values.get(name, ()) if isinstance(value, str)]

    def text(self, name: str, default: str = "") -> str:
        """The scalar ``name``; of several the last, as in protocol buffers."""
        return (self.texts(name) or [default])[-1]

    def integers(self, name: str) -> list[int]:
        """The scalars ``name`` as whole numbers; `BadInput` if one is none."""
        return [int(self._number(name, text, whole=True)) for text in self.texts(name)]

    def integer(self, name: str, default: int) -> int:
        return (self.integers(name) or [default])[-1]

    def numbers(self, name: str) -> list[float]:
        """The scalars ``name`` as numbers; `BadInput` if one is none."""
        return [self._number(name, text) for text in self.texts(name)]

    def number(self, name: str, default: float) -> float:
        return (self.numbers(name) or [default])[-1]

    def flag(self, name: str, default: bool) -> bool:
        text = self.text(name, str(default)).lower()
        if text not in ("true", "false", "1", "0", "t", "f"):
            raise BadInput(
                f"{self.path}: {name} after line {self.line} should be true or false, not {text!r}; mend the file"
            )
        return text in ("true", "1", "t")

    def _number(self, name: str, text: str, whole: bool = False) -> float:
        try:
            return int(text, 0) if whole else float(text.rstrip("fF") if text[-1:] in "fF" else text)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise BadInput(
                f"{self.path}: {name} after line {self.line} should be {kind}, not {text!r}; mend the file"
            ) from None


def read_prototxt(path: Path) -> Block:
    """The message in the file ``path``.

    Raises:
        MissingInput, BadInput: no such file, or not the text format; names the line.
    """
    try:
        text = decoded(read_regular(path))
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such prototxt file; correct --prototxt") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not a text file; give the network's .prototxt, not its weights") from None
    except OSError as error:
        raise BadInput(f"{path}: not readable ({error.strerror})") from None
    return parse_prototxt(text, path)


def decoded(data: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark, or UTF-16 with one; raises `UnicodeDecodeError` for others."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16")
        if not any(letter.isascii() for letter in text):  # bytes that only happen to begin so
            raise UnicodeDecodeError("utf-16", data, 0, len(data), "no text")
        return text
    return data.decode("utf-8-sig")


def parse_prototxt(text: str, path: Path) -> Block:
    """The message in ``text``; ``path`` is named in errors."""
    return _Parser(text, path).message("", 0)


class _Parser:
    def __init__(self, text: str, path: Path) -> None:
        self.path = path
        self.tokens = self._tokens(text)
        self.line = 1
        self.kind, self.token, self.next_line = next(self.tokens)

    def _tokens(self, text: str) -> Iterator[tuple[str, str, int]]:
        position, line = 0, 1
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise BadInput(
                    f"{self.path}: not a prototxt file at line {line}: {text[position : position + 20]!r}; "
                    "mend the file"
                )
            if match.lastgroup != "space":
                yield str(match.lastgroup), match[0], line
            line += match[0].count("\n")
            position = match.end()
        yield "end", "", line

    def take(self) -> str:
        token, self.line = self.token, self.next_line
        if self.kind != "end":
            self.kind, self.token, self.next_line = next(self.tokens)
        return token

    def wrong(self, expected: str) -> BadInput:
        found = f"{self.token[:30]!r}" if self.kind != "end" else "the end of the file"
        return BadInput(f"{self.path}: line {self.next_line}: {expected} expected, but there is {found}; mend the file")

    def message(self, closing: str, depth: int) -> Block:
        block = Block(self.path, self.line)
        if depth > _DEPTH:
            raise BadInput(
                f"{self.path}: line {self.line}: more than {_DEPTH} blocks inside one another; mend the file"
            )
        while not (self.token == closing and self.kind in ("mark", "end")):
            if self.kind != "word":
                raise self.wrong(f"a field's name or {closing!r}" if closing else "a field's name")
            name = self.take()
            if self.token == ":":
                self.take()
            elif self.token not in _CLOSING:
                raise self.wrong(f"':' or '{{' after {name}")
            block.values.setdefault(name, []).extend(self.value(depth))
            if self.kind == "mark" and self.token in (",", ";"):
                self.take()
        self.take()
        return block

    def value(self, depth: int) -> list[str | Block]:
        if self.kind == "mark" and self.token in _CLOSING:
            return [self.message(_CLOSING[self.take()], depth + 1)]
        if self.kind == "mark" and self.token == "[":
            return self.list_of_values(depth)
        if self.kind == "string":
            parts = []
            while self.kind == "string":  # strings that follow each other are one
                parts.append(re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), self.take()[1:-1]))
            return ["".join(parts)]
        if self.kind != "word":
            raise self.wrong("a value")
        return [self.take()]

    def list_of_values(self, depth: int) -> list[str | Block]:
        found: list[str | Block] = []
        self.take()
        while self.token != "]":
            if depth > _DEPTH:
                raise BadInput(
                    f"{self.path}: line {self.line}: more than {_DEPTH} lists inside one another; mend the file"
                )
            found += self.value(depth + 1)
            if self.token == ",":
                self.take()
            elif self.token != "]":
                raise self.wrong("',' or ']'")
        self.take()
        return found
