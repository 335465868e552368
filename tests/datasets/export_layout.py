"""What a small export written by hand is: its files, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.datasets.annotated_sets import image_file

Box = tuple[float, float, float, float]
Things = list[tuple[str, Box]]


@dataclass(frozen=True)
class Layout:
    """``objects``: image id -> its objects; None for an image without annotation. ``flags``: (id, position, flag) that
    are true. ``says``: what warnings must say.
    """

    kind: str
    files: Mapping[str, Any]
    objects: Mapping[str, Things | None]
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    flags: frozenset[tuple[str, int, str]] = frozenset()
    says: tuple[str, ...] = ()

    def write(self, root: Path) -> Path:
        for number, (name, size) in enumerate(self.images.items()):
            image_file(root / name, size, 40 * number)
        for name, content in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return root


SIZE = (64, 48)
