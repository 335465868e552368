"""A search of windows that leaves a trace: what the worker processes of a test run."""

from __future__ import annotations

from pathlib import Path

from sppcli.proposals.propose import ProposeConfig, Windows, propose_image
from sppcli.structures import ImageItem


def trace_of(path: Path) -> Path:
    return path.with_suffix(".searched")


def traced(image: ImageItem, config: ProposeConfig) -> Windows:
    """As `propose_image`, which it is in place of."""
    found = propose_image(image, config)
    trace_of(image.path).write_text("")
    return found
