"""Options on how a stage runs, whatever it makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from sppcli.runtime.progress import NoProgress, Progress


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options that do not decide what a stage makes, so that none of them goes into a fingerprint.

    Every stage takes one and reads the fields that concern it; a stage's own config holds what decides its output.

    | field | meaning |
    |---|---|
    | force | make the output again even if it exists and is current, and reuse nothing |
    | strict | stop at the first input that cannot be used, in place of skipping it |
    | overwrite | replace an output that spp did not make, or one of another kind |
    | wait | wait for another run that works on the same output, in place of ending |
    | dry_run | say what would be done, and do nothing |
    | jobs | processes to work with |
    | device | where networks run: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` |
    | trackers | experiment trackers that learning curves and figures go to: names of `runtime.trackers.TRACKERS` |
    | progress | is told how far the work is |
    """

    force: bool = False
    strict: bool = False
    overwrite: bool = False
    wait: bool = False
    dry_run: bool = False
    jobs: int = 1
    device: str = "auto"
    trackers: tuple[str, ...] = ()
    progress: Progress = field(default_factory=NoProgress)


USUAL = RunOptions()
"""One process, no messages, on whatever device there is."""
