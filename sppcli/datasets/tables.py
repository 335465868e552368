"""CSV tables that annotation tools write, as rows with their line numbers. (`table` is the CSV data set itself.)"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

from sppcli.datasets.json_values import LARGEST, is_plain_text
from sppcli.errors import BadInput

# Begun at the first digit only, as each beginning reads all that follow.
_DECIMAL = re.compile(r"(?<!\d)(-?\d+),(\d+)")


def delimiter_of(head: str) -> str:
    """What is between the fields: a comma, or in a first line without one a semicolon or a tab, as Excel may write."""
    first = head.lstrip().split("\n", 1)[0]
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")


def header_of(head: str) -> list[str]:
    """The column names in lower case of a table that begins with ``head``; [] where its first line is no CSV."""
    try:
        first: list[str] = next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter_of(head)), [])
    except csv.Error:
        return []
    return [name.strip().lower() for name in first]


def lines_of(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line that is not empty, blanks around fields taken off.

    Where fields are parted by semicolons, 1,5 is a number.

    Raises:
        BadInput: not CSV, or a character that no file has.
    """
    delimiter = delimiter_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                if not all(map(is_plain_text, fields)):
                    raise BadInput(f"{path}, line {reader.line_num} holds a NUL: the file is damaged")
                plain = [field.strip() for field in fields]
                yield reader.line_num, [_DECIMAL.sub(r"\1.\2", field) for field in plain] if delimiter == ";" else plain
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num} is not CSV: {error}") from error


def rows_of(text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """As `lines_of`, by the names in the first line, in lower case.

    Raises:
        BadInput: as `lines_of`, and a line with another number of fields than the first.
    """
    lines = lines_of(text, path)
    _, first = next(lines, (0, []))
    names = [name.lower() for name in first]
    for number, fields in lines:
        if len(fields) != len(names):
            raise BadInput(f"{path}, line {number} has {len(fields)} fields, the first line {len(names)}")
        # The first of two columns of one name counts.
        yield number, dict(reversed(list(zip(names, fields, strict=True))))


def number_of(text: str, where: str) -> float:
    """A finite number.

    Raises:
        BadInput: it is none, or too large to be a place in an image.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise BadInput(f"{where}: {text[:60]!r} is not a number")
    return value
