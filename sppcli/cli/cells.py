"""Values as the cells of a table, and as JSON has them."""

from __future__ import annotations

import textwrap
from dataclasses import fields, is_dataclass
from typing import Any

from sppcli.cli.printable import printable


def cell_text(value: object) -> str:
    return "-" if value is None else printable(" ".join(str(value).split()))


def width_of(text: str) -> int:
    """Columns that ``text`` takes in a fixed-width font."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def all_numbers(column: list[str]) -> bool:
    """Whether every cell but ``-`` and empty ones reads as a number, with a unit or % behind it or not."""
    texts = [text for text in column if text not in ("-", "")]
    return bool(texts) and all(_is_number(text) for text in texts)


def _is_number(text: str) -> bool:
    try:
        float(text.split(" ")[0].rstrip("%").replace(",", ""))
    except ValueError:
        return False
    return len(text.split(" ")) <= 2


def plain(value: Any) -> Any:
    """``value`` with what JSON cannot say made sayable: NaN to null, tuples to lists, paths and others to text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return plain(value.tolist())
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return str(value)


def broken(text: str, columns: int, before: int = 0, hang: int = 0) -> str:
    """``text`` in lines of at most ``columns``, broken between words only.

    ``before``: columns that are taken in the first line. Further lines are indented as the first is, and ``hang`` more.
    """
    if before + width_of(text) <= columns or "\n" in text:
        return text
    indent = " " * min(len(text) - len(text.lstrip(" ")) + hang, columns // 2)
    wrapped = textwrap.wrap(
        "x" * before + text, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapped)[before:]
