"""The options that made a file, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat_options(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Options by name, those of a table by ``table: name``; those that are None are left out."""
    found: dict[str, str] = {}
    for name, value in values.items():
        full = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            found |= flat_options(value, f"{full}: ")
        elif isinstance(value, list | tuple):
            found[full] = ", ".join(map(str, value)) or "none"
        elif value is not None:
            found[full] = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return found
