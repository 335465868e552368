"""Linear models whose classes were trained in shards, joined into the file that one machine would have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.artefacts.merging import OpenShard
from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.shards import SHARD
from sppcli.artefacts.store import Header, create, described
from sppcli.artefacts.validity import Values
from sppcli.errors import StaleArtefact

KINDS = ("svm", "bbox")


def merged_model_header(shards: Sequence[OpenShard]) -> Header:
    """The header that one machine would have given to the file of all classes.

    Raises:
        StaleArtefact: the shards say different things of their training, or have a class twice.
    """
    first = shards[0]
    rows: list[dict[str, Any]] = []
    for item in shards:
        with described(item.artefact):
            if _alike(item.header) != _alike(first.header):
                raise StaleArtefact(f"{item.path} is no shard of the same training as {first.path}; make both again")
            rows += item.header.summary["classes"]
    rows.sort(key=lambda row: str(row["name"]))
    names = [str(row["name"]) for row in rows]
    if len(set(names)) < len(names) or names != first.header.config.get("classes", names):
        raise StaleArtefact(
            f"{first.path} and its {len(shards) - 1} fellow shards do not hold the classes of their run"
        )
    return replace(first.header, config=first.plain_config(), summary={**_alike(first.header), "classes": rows})


def _alike(header: Header) -> dict[str, Any]:
    """What all shards say of their training."""
    return {name: value for name, value in header.summary.items() if name not in (SHARD, "classes")}


def write_merged_model(output: Path, header: Header, values: Sequence[Values]) -> None:
    """Write the models of all classes, in the order of their names."""
    names = [name for found in values for name in found["classes"]]
    order = sorted(range(len(names)), key=names.__getitem__)
    with create(output, header) as writer:
        for item in SCHEMAS[header.kind].fields:
            if item.dtype == "str":
                writer.strings(item.name, [names[row] for row in order])
            else:
                writer.array(item.name, np.concatenate([found[item.name] for found in values])[order])
