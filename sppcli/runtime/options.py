"""How a stage is run, whatever it makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from sppcli.runtime.progress import NoProgress, Progress


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Nothing here decides what a stage makes, so nothing of it goes into a fingerprint.

    Every stage takes one and reads what it has a use for; a stage's own config holds what decides its output.

    | field | meaning |
    |---|---|
    | force | make the output again even if it is there and current, and take nothing over |
    | strict | stop at the first input that cannot be used, in place of skipping it |
    | wait | wait for another run that works on the same output, in place of ending |
    | dry_run | say what would be done, and do nothing |
    | jobs | processes to work with |
    | device | where networks run: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` |
    | progress | is told how the work moves |
    """

    force: bool = False
    strict: bool = False
    wait: bool = False
    dry_run: bool = False
    jobs: int = 1
    device: str = "auto"
    progress: Progress = field(default_factory=NoProgress)


USUAL = RunOptions()
"""One process, quiet, on whatever device there is."""
