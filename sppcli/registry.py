"""Registries: what can be chosen by name, one line each, without importing any of it.

`nets.registry` has the backbones, `proposals.registry` the region proposal methods, `evaluation.registry` the
evaluation protocols. Help, ``spp fetch`` and the documentation are made from them. (Annotation formats:
`datasets.formats`.) docs/extending.md adds one of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """``where``: ``module:attribute`` of what is chosen, imported by `load`; ``text``: what it is, for help.

    ``downloads``: of a backbone, whether `spp fetch` knows where trained weights are.
    """

    where: str
    text: str
    downloads: bool = False

    def load(self) -> Any:
        """What is chosen; its module is imported now."""
        module, _, attribute = self.where.partition(":")
        return getattr(import_module(module), attribute)
