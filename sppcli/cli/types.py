"""Types of the values that options take, each with an error that shows what it would understand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sppcli.runtime.urls import is_url, local_of, scheme_of, url_fault

if TYPE_CHECKING:
    from sppcli.runtime.shards import Shard

    _Type = click.ParamType[Any]  # a plain class at run time, before click 8.5
else:
    _Type = click.ParamType


class IntList(_Type):
    """Whole numbers above zero, joined by commas, as ``tuple[int, ...]``; no number twice unless ``repeats``.

    Give defaults as text (`IntList.text`), so that ``--help`` shows them as they are typed.
    """

    name = "numbers"

    def __init__(self, example: str = "480,576,688", repeats: bool = False) -> None:
        self.example = example
        self.repeats = repeats

    @staticmethod
    def text(values: Iterable[int]) -> str:
        return ",".join(str(value) for value in values)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        numbers: list[int] = []
        for item in str(value).split(","):
            if not re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", item, re.ASCII):
                self.fail(
                    f"{str(value)!r} is not a list of whole numbers above zero, such as {self.example}.", param, ctx
                )
            if int(item) in numbers and not self.repeats:
                self.fail(f"{int(item)} stands twice in {str(value)!r}; name each number once.", param, ctx)
            numbers.append(int(item))
        return tuple(numbers)


class SizeList(_Type):
    """``180,224`` as ``(False, (180, 224))``, or the range ``180-224`` as ``(True, (180, 224))``."""

    name = "sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[bool, tuple[int, ...]]:
        if isinstance(value, tuple):
            return value
        text = str(value)
        is_range = re.fullmatch(r"\s*[0-9]+\s*-\s*[0-9]+\s*", text, re.ASCII) is not None
        sizes = IntList("224 or 180,224 or 180-224").convert(text.replace("-", ",") if is_range else text, param, ctx)
        if is_range and sizes[0] > sizes[1]:
            self.fail(f"{text!r} is not a range from a smaller to a larger size, such as 180-224.", param, ctx)
        return is_range, sizes


class NameList(_Type):
    """Names joined by commas, as ``tuple[str, ...]``; blanks around a name are dropped, no name twice."""

    name = "names"

    def __init__(self, example: str) -> None:
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names):
            self.fail(f"{str(value)!r} is not a list of names, such as {self.example}.", param, ctx)
        return tuple(dict.fromkeys(names))


class Fraction(_Type):
    """A number from 0 to 1, both included, as ``float``."""

    name = "fraction"

    def __init__(self, example: float = 0.3) -> None:
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = _number(value)
        if number is None or not 0 <= number <= 1:
            self.fail(f"{str(value)!r} is not a number from 0 to 1, such as {self.example:g}.", param, ctx)
        return number


class Share(Fraction):
    """A number between 0 and 1, neither included, as ``float``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = _number(value)
        if number is None or not 0 < number < 1:
            self.fail(f"{str(value)!r} is not a number between 0 and 1, such as {self.example:g}.", param, ctx)
        return number


class PositiveFloat(_Type):
    """A finite number above zero, as ``float``."""

    name = "number"

    def __init__(self, example: float = 0.001) -> None:
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = _number(value)
        if number is None or number <= 0:
            self.fail(f"{str(value)!r} is not a number above zero, such as {self.example:g}.", param, ctx)
        return number


class Number(_Type):
    """A finite number of either sign, as ``float``."""

    name = "number"

    def __init__(self, example: float = 0.5) -> None:
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = _number(value)
        if number is None:
            self.fail(f"{str(value)!r} is not a number, such as {self.example:g}.", param, ctx)
        return number


class Bytes(_Type):
    """An amount of memory such as ``800M`` or ``3G`` (binary units), as ``int`` bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([MG])i?B?", str(value), re.ASCII | re.IGNORECASE)
        size = float(match[1]) * {"M": 2**20, "G": 2**30}[match[2].upper()] if match else 0
        if size < 100 * 2**20:
            self.fail(f"{str(value)!r} is not an amount of memory of at least 100M, such as 800M or 3G.", param, ctx)
        return int(size)


class Device(_Type):
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Whether the machine has it is asked later, by torch."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]+)?", str(value), re.ASCII):
            self.fail(f"{str(value)!r} is not a device: auto, cpu, cuda, cuda:0 (1, 2 ...) or mps.", param, ctx)
        return str(value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


class ShardOf(_Type):
    """One shard of several, as ``3/8``."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        from sppcli.runtime.shards import Shard

        if isinstance(value, Shard):
            return value
        named = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(value), re.ASCII)
        if not named or not 1 <= int(named[1]) <= int(named[2]):
            self.fail(f"{value!r} is not a shard such as 3/8: its number, from 1, and how many there are.", param, ctx)
        return Shard(int(named[1]), int(named[2]))


class PathOrUrl(click.Path):
    """A path, as ``Path`` or with ``text`` as ``str``; of a URL the path that stands for it, which `by_url` sees to.

    ``role``: whether it is read, written, read and perhaps written anew, or cannot be a URL.
    """

    def __init__(self, role: Literal["read", "write", "update", "here"] = "read", text: bool = False) -> None:
        super().__init__(path_type=None if text else Path, allow_dash=True)
        self.role = role
        self.text = text

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # As in yolo:s3://bucket/data.
        form, colon, named = str(value).partition(":")
        rest = named if isinstance(value, str) and colon and is_url(named) else value
        if isinstance(rest, str) and is_url(rest):
            self._refuse(rest, param, ctx)
            path = f"{'' if rest is value else f'{form}:'}{local_of(rest)}"
            return path if self.text else Path(path)
        return str(value) if self.text else super().convert(value, param, ctx)

    def _refuse(self, url: str, param: click.Parameter | None, ctx: click.Context | None) -> None:
        """Refuse a URL that cannot be what is asked for."""
        if fault := url_fault(url):
            self.fail(f"{url!r} cannot be used: {fault}.", param, ctx)
        if self.role == "here" and scheme_of(url) != "file":
            self.fail(f"{url!r} is a URL, and only a path of this machine can stand here.", param, ctx)
        if self.role == "write" and url.endswith("/"):
            self.fail(f"{url!r} is a folder; name a file, or write to a path of this machine.", param, ctx)
        if self.role == "write" and scheme_of(url) in ("http", "https"):
            self.fail(f"{url!r} cannot be written to; name an object of s3://, gs:// or az://, or a path.", param, ctx)
