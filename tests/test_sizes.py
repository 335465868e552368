"""No file too long to be read at one sitting, no function too long to be seen at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 60

LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
"""What is longer, and is to be divided. Nothing is to be added here."""


def python_files(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` on; of click's commands, whose parameters are their options, those of the body.

    Decorators and docstrings are not counted.
    """
    end = function.end_lineno or 0
    first = function.body[0]
    has_text = ast.get_docstring(function, clean=False) is not None
    text = (first.end_lineno or 0) - first.lineno + 1 if has_text else 0
    is_command = any("command" in ast.unparse(decorator) for decorator in function.decorator_list)
    return end - (first.lineno - 1 if is_command else function.lineno - 1) - text


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_is_too_long() -> None:
    lengths = {name: len(text.splitlines()) for name, text in python_files("sppcli", "tests")}
    assert len(lengths) > 300
    assert {name for name, lines in lengths.items() if lines > LINES_OF_A_FILE} == LONG_FILES


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{name}:{function.name}:{function.lineno}": length(function)
        for name, text in python_files("sppcli")
        for function in functions(text)
    }
    assert len(lengths) > 1000
    long = {name.rpartition(":")[0]: lines for name, lines in lengths.items() if lines > LINES_OF_A_FUNCTION}
    assert set(long) == LONG_FUNCTIONS, long


def test_what_is_counted() -> None:
    plain, command, method = functions(
        "@cached\ndef plain(\n    a,\n):\n    '''One\n    two.'''\n    b = a\n    return b\n"
        "@click.command('x')\ndef command(\n    a,\n    b,\n):\n    '''Text.'''\n    return a\n"
        "class Some:\n    def method(self):\n        return 1\n"
    )
    assert [length(plain), length(command), length(method)] == [5, 1, 2]
