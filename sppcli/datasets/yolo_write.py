"""YOLO's folders out of any annotated data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sppcli.datasets.annotated import AnnotatedSet, Corners, clipped
from sppcli.datasets.yolo_labels import label_path
from sppcli.datasets.yolo_names import NO_SPLITS
from sppcli.errors import UsageProblem
from sppcli.runtime.files import inside


def write_yolo(folder: Path, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """``data.yaml``, ``labels/`` and a list SPLIT.txt a split in ``folder``; ``names``: image id -> file below images/.

    Boxes are cut to the image; crowds and boxes outside it are left out. Images must have a size.

    Raises:
        UsageProblem: a split whose name means something else in a .yaml.
    """
    number = {name: i for i, name in enumerate(data.classes)}
    for image in data.images:
        assert image.size is not None
        path = label_path(inside(folder / "images", names[image.id]))
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{number[thing.label]} {' '.join(shares)}\n"
            for thing in image.objects or ()
            if not thing.crowd and (shares := _shares(thing.box, image.size))
        ]
        path.write_text("".join(lines), encoding="utf-8")
    content: dict[str, Any] = {}
    # Where a .yaml lists images, the rest are left out: all.txt names those of no split too.
    for split, ids in (data.lists() if data.splits else {}).items():
        if split in NO_SPLITS:
            raise UsageProblem(
                f"a split called {split!r} cannot be written to data.yaml, where {split} means another thing"
            )
        content[split] = f"{split}.txt"
        text = "".join(f"./images/{names[image_id]}\n" for image_id in ids)
        inside(folder, f"{split}.txt").write_text(text, encoding="utf-8")
    content["names"] = dict(enumerate(data.classes))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _shares(box: Corners, size: tuple[int, int]) -> list[str]:
    """cx cy w h with twelve decimals; [] for a box outside the image."""
    x0, y0, x1, y1 = clipped(box, size)
    if x1 <= x0 or y1 <= y0:
        return []
    width, height = size
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return [f"{share:.12f}".rstrip("0").rstrip(".") for share in shares]
