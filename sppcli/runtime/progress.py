"""How a stage reports its progress: a small protocol, so that no stage knows of a terminal.

A stage takes ``progress: Progress`` and calls it; the command line passes an object that draws (``cli.console``),
a script or a test passes nothing and gets `NoProgress`.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a stage has to say while it works. Every method returns at once and never raises."""

    def start(self, total: int, unit: str, found: int = 0) -> None:
        """A new piece of work of ``total`` items begins; the one before it is over.

        Args:
            total: number of items, 0 if it cannot be known.
            unit: what an item is, in the plural: ``images``, ``classes``, ``proposals``.
            found: items of ``total`` that an earlier run has done; they are no measure of speed.
        """

    def advance(self, n: int = 1) -> None:
        """``n`` more items are done."""

    def note(self, text: str) -> None:
        """Say in a few words what is being worked on, or what is slow; this replaces the note before it."""

    def say(self, text: str) -> None:
        """Print one line that stays: what there is to work on."""

    def warn(self, text: str) -> None:
        """Print one sentence that the user should read even though the work goes on."""


class NoProgress:
    """Says nothing. The default of every stage."""

    def start(self, total: int, unit: str, found: int = 0) -> None:
        """Ignored."""

    def advance(self, n: int = 1) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def say(self, text: str) -> None:
        """Ignored."""

    def warn(self, text: str) -> None:
        """Ignored."""
