"""Whether two artefacts say and hold the same, wherever their values lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sppcli.artefacts.store import open_artefact
from sppcli.artefacts.validity import checked_values


def content(path: Path) -> tuple[object, dict[str, object]]:
    """What a file says of itself, and every value in it, wherever it lies."""
    with open_artefact(path) as artefact:
        header = artefact.header
        values: dict[str, object] = dict(checked_values(artefact))
        values |= {name: artefact.array(name) for name in artefact.names() if "/" in name and "shards/" not in name}
        return (header.config, header.inputs, header.source, header.summary, artefact.fingerprint), values


def same(one: Path, other: Path) -> bool:
    """Whether two files say and hold the same."""
    (header, values), (header_too, values_too) = content(one), content(other)
    assert header == header_too
    assert sorted(values) == sorted(values_too)
    assert all(np.array_equal(np.asarray(values[name]), np.asarray(values_too[name])) for name in values)
    return True
