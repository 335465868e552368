"""All that is printed: results on standard output; progress and messages on standard error.

On a terminal there are live bars and some colour (not with NO_COLOR, or TERM=dumb); elsewhere plain lines that stay
readable in a log. How much is said follows ``-q`` and ``-v`` of the command being run (`options.verbosity`).
rich is imported only to draw on a terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

from sppcli.cli.cells import all_numbers, broken, cell_text, plain, width_of
from sppcli.cli.drawn import progress_display, table_for_terminal
from sppcli.cli.meter import Meter, duration, rate, unit_of
from sppcli.cli.options import STEP, VERBOSITY
from sppcli.cli.printable import printable, printable_json
from sppcli.runtime.torchrun import follows

if TYPE_CHECKING:
    import rich.console
    import rich.progress
    import rich.status

    from sppcli.runtime.progress import Progress

# Off a terminal: a line after so many seconds or so much of the work, whichever is first, but not within GAP seconds.
LINE_SECONDS = 10.0
LINE_FRACTION = 0.1
LINE_GAP = 2.0


def level() -> int:
    """-1 with ``-q``, 1 with ``-v``, else 0, of the command being run."""
    context = click.get_current_context(silent=True)
    return int(context.meta.get(VERBOSITY, 0)) if context else 0


# The meters that rich shows now, the innermost last; all in one display. What is printed meanwhile goes through it,
# since a line written past it would stand behind what is left of a bar.
_open: list[_Live] = []


def echo(text: object = "", err: bool = False) -> None:
    """A line on standard output or error. Whatever is printed comes through here, control characters as escapes."""
    _line(printable(str(text)), err)


def _line(text: str, err: bool, styled: str = "", hang: int = 0) -> None:
    """A line of printable text, behind ``styled``, a label with colours; on a terminal broken between words, further
    lines begin after ``hang`` blanks more."""
    end_waiting()
    if _is_terminal(sys.stderr if err else sys.stdout):
        text = broken(text, shutil.get_terminal_size().columns, width_of(click.unstyle(styled)), hang)
    if _open and (err or _is_terminal(sys.stdout)):
        from rich.text import Text

        _open[-1].bar.console.print(Text(click.unstyle(styled), "yellow") + Text(text), soft_wrap=True)
    else:
        click.echo(f"{styled}{text}", err=err, color=True if styled else None)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show ``text`` on a terminal until the first line or bar: programs are loaded, and that takes seconds."""
    if level() < 0 or not _is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console

    end_waiting()
    shown = Console(stderr=True, highlight=False).status(printable(text), spinner="line")
    _waiting.append(shown)
    shown.start()
    try:
        yield
    finally:
        end_waiting()


_waiting: list[rich.status.Status] = []


def end_waiting() -> None:
    """Take what `waiting` shows away, if it still stands there."""
    while _waiting:
        _waiting.pop().stop()


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
    _line(printable(text), True, f"{label} ") if coloured else _line(f"{label} {printable(text)}", True)


def print_json(value: Any) -> None:
    """One JSON object on standard output, from a dictionary or a dataclass.

    NaN and infinities, which JSON does not know, become null; paths become text.
    """
    end_waiting()
    click.echo(printable_json(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], footer: Sequence[object] | None = None) -> None:
    """A table on standard output: numbers right-aligned; plain columns, never cut or wrapped, when piped.

    Args:
        headers: one a column.
        rows: cells, shown by ``str`` (None as ``-``); as many in each row as there are headers.
        footer: a last row set apart, such as a mean.
    """
    end_waiting()
    cells = [[cell_text(value) for value in row] for row in rows]
    last = [[cell_text(value) for value in footer]] if footer is not None else []
    right = [all_numbers([row[i] for row in cells + last]) for i in range(len(headers))]
    if _is_terminal(sys.stdout):
        from rich.console import Console

        Console(highlight=False).print(table_for_terminal(headers, cells, last, right))
        return
    lines = [list(headers), *cells, *last]
    widths = [max(width_of(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        padded = [
            " " * (width - width_of(text)) + text if to_right else text + " " * (width - width_of(text))
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
    end_waiting()
    width = max((width_of(name) for name, _ in rows), default=0)
    click.echo(("\n" if apart else "") + _heading(title))
    for name, text in rows:
        _line(printable(f"  {name}{' ' * (width - width_of(name))}  {text}"), False, hang=width + 2 if name else 2)


def section(heading: str, lines: Sequence[str], apart: bool = False) -> None:
    """A heading with lines below it on standard output, as they are; ``apart`` as in `sheet`."""
    end_waiting()
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


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """What a stage reports its progress to, shown on standard error.

    Args:
        label: names the work, as a rule the command: ``propose``.
    """
    end_waiting()
    context = click.get_current_context(silent=True)
    if context and STEP in context.meta:
        label = f"{context.meta[STEP]} {label}"
    meter: _Plain
    if level() < 0 or follows():
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
        echo(
            f"{self.label}: {meter.done} {unit_of(meter.done, self.unit)} in {duration(meter.seconds)}{speed}{found}",
            err=True,
        )

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
            parts = [
                f"{meter.done}/{meter.total} {unit_of(meter.total, self.unit)}, {100 * meter.done // meter.total}%"
            ]
        else:
            parts = [f"{meter.done} {unit_of(meter.done, self.unit)}"]
        if meter.rate:
            parts.append(f"{rate(meter.rate)}/s")
        if meter.remaining is not None:
            parts.append(f"{duration(meter.remaining)} left" if meter.remaining else "finishing")
        if self._note:
            parts.append(printable(self._note))
        return ", ".join(parts)


class _Live(_Plain):
    """Progress as a bar that rich redraws."""

    def __init__(self, label: str, bar: rich.progress.Progress) -> None:
        super().__init__(label)
        self.bar = bar
        # From the first moment: until the stage says what there is to do, it reads its inputs.
        self._task: rich.progress.TaskID | None = bar.add_task(label, total=None, meter=self)

    def start(self, total: int, unit: str, found: int = 0) -> None:
        super().start(total, unit, found)
        self._task = self.bar.add_task(self.label, total=total or None, meter=self)

    def finish(self) -> None:
        self.discard()
        super().finish()

    def discard(self) -> None:
        """Take the bar away, without a last line."""
        if self._task is not None:
            self.bar.remove_task(self._task)
            self._task = None

    def show(self, visible: bool) -> None:
        """Show the bar, or hide it behind that of an inner meter."""
        if self._task is not None:
            self.bar.update(self._task, visible=visible)

    def _draw(self) -> None:
        if self._task is not None and self.meter is not None:
            self.bar.update(self._task, completed=self.meter.done)

    def state(self) -> str:
        """The text beside the bar."""
        if self.meter is None:
            return printable(self._note) or "starting"
        if not self.meter.done and not self._note and self.meter.total:
            return f"{self._state(self.meter)}, starting"
        return self._state(self.meter)


@contextmanager
def _live(label: str) -> Iterator[_Live]:
    """A meter in the display that is open, or in one of its own."""
    if _open:
        outer = _open[-1]
        outer.show(False)
        meter = _Live(label, outer.bar)
        _open.append(meter)
        try:
            yield meter
        finally:
            _open.pop().discard()
            outer.show(True)
        return
    bar = progress_display(redirect_stdout=_is_terminal(sys.stdout))
    with bar:
        meter = _Live(label, bar)
        _open.append(meter)
        try:
            yield meter
        finally:
            _open.pop()


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
