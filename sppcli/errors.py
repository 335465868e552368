"""The errors a user can meet. Each is one sentence: what, where, and what to do next.

The exit codes stand here, beside the meaning, and are applied in one place (``cli.main``).
"""

from __future__ import annotations


class SppError(Exception):
    """Base of every error that is the user's to mend; its text is shown without a traceback."""

    exit_code = 3


class UsageProblem(SppError):
    """Options that cannot be combined or have no meaning for these inputs."""

    exit_code = 2


class MissingInput(SppError):
    """A file, folder, split, class or set of weights that is not there."""


class BadInput(SppError):
    """An image, annotation, list or weights file that cannot be used as it is."""


class BadArtefact(SppError):
    """A file of ours that is not what its name says: another kind, another version, damaged."""


class NoRoom(SppError):
    """A disk on which an output cannot fit."""


class Busy(SppError):
    """Another process works on the same output."""


class WorkerKilled(SppError):
    """A process that worked for this one was killed, most often because memory ran out."""


class StaleArtefact(SppError):
    """Artefacts that do not belong together."""

    exit_code = 4
