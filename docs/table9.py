"""The table that docs/voc2007.mk fills, beside the paper's Table 9 (ZF-5): python docs/table9.py FOLDER [1] [5]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

COLUMNS = {
    "pool5": "pool5",
    "fc6": "fc6",
    "ft-fc6": "fine-tuned fc6",
    "ft-fc7": "fine-tuned fc7",
    "ft-fc7-bb": "and boxes",
}
PAPER = {
    1: {"pool5": 43.0, "fc6": 42.5, "ft-fc6": 52.3, "ft-fc7": 54.5, "ft-fc7-bb": 58.0},
    5: {"pool5": 44.9, "fc6": 44.8, "ft-fc6": 53.7, "ft-fc7": 55.2, "ft-fc7-bb": 59.2},
}


def main(folder: Path, numbers: list[int]) -> None:
    titles = {1: "1 scale", 5: "5 scales"}
    print(" " * 16 + "".join(f"{titles[n]:>11}{'paper':>8}" for n in numbers))
    for name, title in COLUMNS.items():
        line = f"{title:<16}"
        for n in numbers:
            found = json.loads((folder / f"scales-{n}" / name / "ap.json").read_text(encoding="utf-8"))
            line += f"{100 * found['mAP']:>11.1f}{PAPER[n][name]:>8.1f}"
        print(line)
    print("mAP in %, VOC 2007 test, 11-point; the paper's network is ZF-5")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(number) for number in sys.argv[2:]] or [1, 5])
