"""What rich draws on a terminal: bars and tables. rich is imported only when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, Task
    from rich.table import Table


def progress_display(redirect_stdout: bool) -> Progress:
    """Bars whose tasks have a ``meter`` that says its state; gone when they end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn
    from rich.text import Text

    class Label(ProgressColumn):
        def render(self, task: Task) -> RenderableType:
            return Text(task.description)

    class State(ProgressColumn):
        def render(self, task: Task) -> RenderableType:
            return Text(task.fields["meter"].state(), overflow="ellipsis", no_wrap=True)

    return Progress(
        SpinnerColumn(),
        Label(),
        BarColumn(bar_width=24),
        State(),
        console=Console(stderr=True, highlight=False),
        transient=True,
        refresh_per_second=5,
        # Both go to the same terminal; with results piped away, standard output is left alone.
        redirect_stdout=redirect_stdout,
    )


def table_for_terminal(
    headers: Sequence[str], cells: list[list[str]], footer: list[list[str]], right: list[bool]
) -> Table:
    """A table as wide as the terminal lets it be."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_footer=bool(footer))
    for i, header in enumerate(headers):
        last = Text(footer[0][i]) if footer else ""
        grid.add_column(Text(header), last, justify="right" if right[i] else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(text) for text in row))
    return grid
