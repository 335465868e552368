"""Seconds an image and peak memory of every stage, as images grow: ``python -m tests.benchmarks.growth 100 1000``.

Small drawn images, all of other content, and a network of two conv layers; every stage is a process of its own. Linear
in the number of images are stages whose seconds per image stay the same, flat those whose peak memory does. A stage's
start, which is part of its seconds, weighs less on more images. --memory bounds what trainings hold. With --shards 16
the maps are those of 16 shards, to which features.h5 leads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEMORY = "600M"
STAGES = (
    ("propose", "images", "-j", "1"),
    ("extract", "--weights", "net.safetensors", "--scales", "96,160", "--precision", "fp32"),
    ("train-svm", "--memory", MEMORY),
    ("train-bbox", "--memory", MEMORY),
    ("detect",),
    ("evaluate",),
)


EXTRACT = STAGES[1]


def stages(shards: int) -> tuple[tuple[str, ...], ...]:
    """The commands of one number of images, with conv maps in so many shards (0: in one file)."""
    if not shards:
        return STAGES
    parts = tuple((*EXTRACT, "--shard", f"{number}/{shards}") for number in range(1, shards + 1))
    files = tuple(f"features.shard-{number}-of-{shards}.h5" for number in range(shards, 0, -1))
    return (STAGES[0], *parts, ("merge", *files), *STAGES[2:])


def prepare(folder: Path, count: int) -> None:
    """``count`` small annotated images and a network in ``folder``."""
    from tests.conftest import build_voc
    from tests.stages.conftest import write_network

    build_voc(folder / "images", count, per_image=3, seed=0)
    write_network(folder / "net.safetensors")


def measured(stage: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of one stage, its worker processes counted by the largest."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "sppcli", *stage, "-q"], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"spp {' '.join(stage)} failed with {process.returncode}")
    # Linux counts in KiB, macOS in bytes.
    return time.monotonic() - began, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[100, 1000])
    parser.add_argument("--shards", type=int, default=0, help="of the least number of images; more have more of them")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    counts = options.counts
    if options.prepare:
        prepare(options.prepare, counts[0])
        return
    print(f"{'images':>7} {'stage':>11} {'s':>8} {'ms/image':>9} {'peak MiB':>9}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # In a process of its own: what this one holds would count as the peak of those that it starts.
            itself = [sys.executable, "-m", "tests.benchmarks.growth", "--prepare", name, str(count)]
            subprocess.run(itself, check=True)
            for stage in stages(options.shards * count // counts[0]):
                seconds, peak = measured(stage, folder)
                print(f"{count:7} {stage[0]:>11} {seconds:8.1f} {1000 * seconds / count:9.1f} {peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
