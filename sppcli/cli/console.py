"""All that is printed: results on standard output; progress and messages on standard error.

On a terminal there are live bars and some colour (not with NO_COLOR, or TERM=dumb); elsewhere plain lines that stay
readable in a log. How much is said follows ``-q`` and ``-v`` of the command being run (`options.verbosity`).
rich is imported only to draw on a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from sppcli.cli.meter import Meter, duration, rate
from sppcli.cli.options import VERBOSITY
from sppcli.cli.printable import printable, printable_json

if TYPE_CHECKING:
    import rich.progress
    from rich.console import RenderableType

    from sppcli.runtime.progress import Progress

# Off a terminal: a line after so many seconds or so much of the work, whichever is first, but not within GAP seconds.
LINE_SECONDS = 10.0
LINE_FRACTION = 0.1
LINE_GAP = 2.0


def level() -> int:
    """-1 with ``-q``, 1 with ``-v``, else 0, of the command being run."""
    context = click.get_current_context(silent=True)
    return int(context.meta.get(VERBOSITY, 0)) if context else 0


def echo(text: object = "", err: bool = False) -> None:
    """A line on standard output or error. Whatever is printed comes through here, control characters as escapes."""
    click.echo(printable(str(text)), err=err)


def say(text: str) -> None:
    """A line on standard error; not with ``-q``."""
    if level() >= 0:
        echo(text, err=True)


def detail(text: str) -> None:
    """A line on standard error, only with ``-v``."""
    if level() > 0:
        echo(text, err=True)


def warn(text: str) -> None:
    """A warning on standard error, with ``-q`` too: it is about the result."""
    coloured = _is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    label = click.style("warning:", fg="yellow", bold=True) if coloured else "warning:"
    click.echo(f"{label} {printable(text)}", err=True, color=coloured)


def print_json(value: Any) -> None:
    """One JSON object on standard output, from a dictionary or a dataclass.

    NaN and infinities, which JSON does not know, become null; paths become text.
    """
    click.echo(printable_json(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], footer: Sequence[object] | None = None) -> None:
    """A table on standard output: numbers right-aligned; plain columns, never cut or wrapped, when piped.

    Args:
        headers: one a column.
        rows: cells, shown by ``str`` (None as ``-``); as many in each row as there are headers.
        footer: a last row set apart, such as a mean.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    last = [[_cell(value) for value in footer]] if footer is not None else []
    right = [_all_numbers([row[i] for row in cells + last]) for i in range(len(headers))]
    if _is_terminal(sys.stdout):
        _table_on_terminal(headers, cells, last, right)
        return
    lines = [list(headers), *cells, *last]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        padded = [
            " " * (width - _width(text)) + text if to_right else text + " " * (width - _width(text))
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        echo("  ".join(padded).rstrip())


def sheet(title: str, rows: Sequence[tuple[str, str]], apart: bool = False) -> None:
    """A title with named lines below it on standard output; never cut or wrapped when piped.

    Args:
        title: a line of its own.
        rows: name and text; an empty name continues the row above.
        apart: set off by an empty line from what was printed before.
    """
    width = max((_width(name) for name, _ in rows), default=0)
    click.echo(("\n" if apart else "") + _heading(title))
    for name, text in rows:
        echo(f"  {name}{' ' * (width - _width(name))}  {text}")


def section(heading: str, lines: Sequence[str], apart: bool = False) -> None:
    """A heading with lines below it on standard output, as they are; ``apart`` as in `sheet`."""
    click.echo(("\n" if apart else "") + _heading(heading))
    for line in lines:
        echo(f"  {line}".rstrip())


def _heading(text: str) -> str:
    bold = _is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    return click.style(printable(text), bold=True) if bold else printable(text)


def has_blocks() -> bool:
    """Whether standard output can show block characters."""
    try:
        "█▏…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _table_on_terminal(
    headers: Sequence[str], cells: list[list[str]], footer: list[list[str]], right: list[bool]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=bool(footer))
    for i, header in enumerate(headers):
        last = Text(footer[0][i]) if footer else ""
        grid.add_column(Text(header), last, justify="right" if right[i] else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(text) for text in row))
    Console(highlight=False).print(grid)


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """What a stage reports its progress to, shown on standard error.

    Args:
        label: names the work, as a rule the command: ``propose``.
    """
    from sppcli.cli.chain import STEP

    context = click.get_current_context(silent=True)
    if context and STEP in context.meta:
        label = f"{context.meta[STEP]} {label}"
    meter: _Plain
    if level() < 0:
        yield _Quiet()
        return
    if _is_terminal(sys.stderr):
        with _live(label) as meter:
            yield meter
            meter.finish()
        return
    meter = _Plain(label)
    yield meter
    meter.finish()


class _Quiet:
    """Nothing but warnings."""

    def start(self, total: int, unit: str, found: int = 0) -> None:
        pass

    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        warn(text)


class _Plain:
    """Progress as occasional lines."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = label
        # click knows the command only in the thread that runs it, and notes come from others too.
        self._says_notes = level() > 0
        self.unit = "items"
        self.meter: Meter | None = None
        self._clock = clock
        self._note = ""
        self._line_time = 0.0
        self._line_done = 0

    def start(self, total: int, unit: str, found: int = 0) -> None:
        self.finish()
        self.unit = unit
        self.meter = Meter(total, self._clock, found)
        self._note = ""
        self._line_time = self._clock()
        self._line_done = found

    def advance(self, n: int = 1) -> None:
        if self.meter is None:
            return
        self.meter.advance(n)
        self._draw()

    def note(self, text: str) -> None:
        if text != self._note and text and self._says_notes:
            echo(f"{self.label}: {text}", err=True)
        self._note = text
        self._draw()

    def say(self, text: str) -> None:
        echo(f"{self.label}: {text}", err=True)

    def warn(self, text: str) -> None:
        warn(text)

    def finish(self) -> None:
        """End the piece of work under way with a line that sums it up, if anything was done."""
        meter, self.meter = self.meter, None
        if meter is None or not meter.done:
            return
        found = f", {meter.found} of them found already done" if meter.found else ""
        speed = f" ({rate(meter.mean_rate)} {self.unit}/s)" if meter.mean_rate and meter.seconds >= 1 else ""
        echo(f"{self.label}: {meter.done} {self.unit} in {duration(meter.seconds)}{speed}{found}", err=True)

    def _draw(self) -> None:
        meter = self.meter
        if meter is None or (meter.total and meter.done >= meter.total):
            return  # the last line sums up
        waited = self._clock() - self._line_time
        moved = (meter.done - self._line_done) / meter.total if meter.total else 0.0
        if waited < LINE_GAP or (waited < LINE_SECONDS and moved < LINE_FRACTION):
            return
        self._line_time, self._line_done = self._clock(), meter.done
        echo(f"{self.label}: {self._state(meter)}", err=True)

    def _state(self, meter: Meter) -> str:
        if meter.total:
            parts = [f"{meter.done}/{meter.total} {self.unit}, {100 * meter.done // meter.total}%"]
        else:
            parts = [f"{meter.done} {self.unit}"]
        if meter.rate:
            parts.append(f"{rate(meter.rate)}/s")
        if meter.remaining is not None:
            parts.append(f"{duration(meter.remaining)} left")
        if self._note:
            parts.append(printable(self._note))
        return ", ".join(parts)


class _Live(_Plain):
    """Progress as a bar that rich redraws."""

    def __init__(self, label: str, bar: rich.progress.Progress) -> None:
        super().__init__(label)
        self._bar = bar
        self._task: rich.progress.TaskID | None = None

    def start(self, total: int, unit: str, found: int = 0) -> None:
        super().start(total, unit, found)
        self._task = self._bar.add_task(self.label, total=total or None)

    def finish(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        super().finish()

    def _draw(self) -> None:
        if self._task is not None and self.meter is not None:
            self._bar.update(self._task, completed=self.meter.done)

    def state(self, task: rich.progress.Task) -> str:
        """The text beside the bar."""
        return self._state(self.meter) if self.meter is not None else ""


@contextmanager
def _live(label: str) -> Iterator[_Live]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    class Label(ProgressColumn):
        def render(self, task: Task) -> RenderableType:
            return Text(label)

    class State(ProgressColumn):
        def render(self, task: Task) -> RenderableType:
            return Text(meter.state(task), overflow="ellipsis", no_wrap=True)

    bar = Progress(
        SpinnerColumn(),
        Label(),
        BarColumn(bar_width=24),
        State(),
        console=Console(stderr=True, highlight=False),
        transient=True,
        refresh_per_second=5,
        # Both go to the same terminal; with results piped away, standard output is left alone.
        redirect_stdout=_is_terminal(sys.stdout),
    )
    meter = _Live(label, bar)
    with bar:
        yield meter


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _cell(value: object) -> str:
    return "-" if value is None else printable(" ".join(str(value).split()))


def _width(text: str) -> int:
    """Columns that ``text`` takes in a fixed-width font."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _all_numbers(column: list[str]) -> bool:
    """Whether every cell but ``-`` and empty ones reads as a number, with a unit or % behind it or not."""
    texts = [text for text in column if text not in ("-", "")]
    return bool(texts) and all(_is_number(text) for text in texts)


def _is_number(text: str) -> bool:
    try:
        float(text.split(" ")[0].rstrip("%").replace(",", ""))
    except ValueError:
        return False
    return len(text.split(" ")) <= 2


def _plain(value: Any) -> Any:
    """``value`` with what JSON cannot say made sayable: NaN to null, tuples to lists, paths and others to text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return str(value)
