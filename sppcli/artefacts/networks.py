"""What a network file (safetensors, written by `nets.weights`) says of itself, read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sppcli.artefacts.store import Json, digest_of
from sppcli.errors import BadArtefact
from sppcli.runtime.tensor_files import read_metadata

NETWORK_KEY = "spp_network"
"""Where `nets.weights` keeps its description in the metadata of a safetensors file."""

_TIMES = ("seconds", "waited")


@dataclass(frozen=True)
class NetworkHeader:
    """What decides the weights of a network that a stage trains: the counterpart of `store.Header`."""

    kind: ClassVar[str] = "network"
    facts: Json

    @property
    def fingerprint(self) -> str:
        return digest_of(self.facts)


def timeless(value: Any) -> Any:
    """A record without its times: equal trainings make equal files, however long they took."""
    if isinstance(value, dict):
        return {name: timeless(item) for name, item in value.items() if name not in _TIMES}
    return [timeless(item) for item in value] if isinstance(value, list | tuple) else value


def describes_itself(path: Path) -> bool:
    """Whether ``path`` is a network that spp wrote: it says itself how its pixels are normalised."""
    try:
        return NETWORK_KEY in read_metadata(path, tensors=False).values
    except (BadArtefact, OSError):
        return False


def recorded_training(path: Path) -> dict[str, Any]:
    """What `nets.weights.save_network` was told of the training that made ``path``; empty if it is not such a file.

    Every byte of the file is checked: a damaged one was made by nobody.
    """
    try:
        training = json.loads(read_metadata(path).values[NETWORK_KEY])["training"]
    except (BadArtefact, OSError, KeyError, TypeError, ValueError):
        return {}
    return training if isinstance(training, dict) else {}
