"""Runs spp propose and spp extract on a sample of images, each on one core: what `plan` reckons with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sppcli.bench.plan import Rates, Run
from sppcli.datasets import open_dataset
from sppcli.errors import SppError
from sppcli.runtime.progress import Progress

_ONE_CORE = """
import sys
from sppcli.cli.main import main
from sppcli.runtime.cpus import cpu_threads, share_processors
share_processors(cpu_threads())
sys.exit(main(sys.argv[1:]))
"""


def sample_of(sources: tuple[Path, ...], count: int) -> list[Path]:
    """``count`` images at equal distances in the list of all."""
    found = [item.path for item in open_dataset(sources).images]
    count = min(count, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def measure(
    folder: Path, images: list[Path], propose: list[str], extract: list[str], by_clock: bool, progress: Progress
) -> list[Rates]:
    """Run both stages on a third of ``images`` and on all of them; ``by_clock``: extract, whose work is a GPU's."""
    counts = sorted({max(1, len(images) // 3), len(images)})
    proposing, extracting = [], []
    progress.start(2 * len(counts) + 1, "runs")
    for count in (1, *counts):
        place = folder / str(count)
        (place / "images").mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(images[:count]):
            shutil.copyfile(path, place / "images" / f"{i:06d}{path.suffix}")
        run = _spp(place, count, ["propose", "images", "-j", "1", *propose, "--force"])
        progress.advance()
        if count == 1 and count not in counts:
            continue  # what is compiled or cached from now on was neither
        proposing.append(run)
        extracting.append(_spp(place, count, ["extract", *extract, "--force"], by_clock))
        progress.advance()
    last = folder / str(len(images))
    size = sum(path.stat().st_size for path in images) / len(images)
    made = {name: (last / f"{name}.h5").stat().st_size / len(images) for name in ("proposals", "features")}
    # propose reads each image twice: to know it, and to search it. extract moves its parts into the file.
    return [
        Rates.of("propose", proposing, 2 * size, made["proposals"], True),
        Rates.of("extract", extracting, size + made["proposals"], made["features"], False),
    ]


def _spp(folder: Path, images: int, arguments: list[str], by_clock: bool = False) -> Run:
    """A command in a process of its own on one core, timed by what it uses of the processor, or by the clock.

    Raises:
        SppError: it failed; the text is the command's own.
    """
    log = folder / "log"
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _ONE_CORE, *arguments, "-q"], cwd=folder, env=environment, stdout=file, stderr=file
        )
        # subprocess would tell how it ended, and not what it took.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started if by_clock else used.ru_utime + used.ru_stime
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
        raise SppError(f"a run of spp {arguments[0]} on the sample failed: {said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(images, seconds, used.ru_maxrss * unit)
