"""Runs spp propose and spp extract on a sample of images, each process on one core: what `plan` reckons with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sppcli.bench.plan import Rates, Sample
from sppcli.datasets import open_dataset
from sppcli.errors import SppError
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.progress import Progress

MADE = {"propose": "proposals", "extract": "features"}
STAGES = tuple(MADE)
MANY, ONE, FIRST = "many", "one", "first"
LEAST = 3.0
"""Seconds that the images of a sample shall take in each stage; where they are small, more of them are taken."""
_AT_ONCE = 8
"""Processes that are measured beside each other, at most."""

# Every run is a shard, as on a cluster, and all of them are in one process, as those of a worker of Dask.
_ONE_CORE = """
import json, resource, sys, time
from sppcli.cli.main import main
from sppcli.runtime.cpus import cpu_threads, share_processors
share_processors(cpu_threads())
def took(arguments):
    before = time.process_time(), time.monotonic()
    if code := main(arguments):
        sys.exit(code)
    return time.process_time() - before[0], time.monotonic() - before[1]
times = [took(arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def sample_of(sources: tuple[Path, ...]) -> Callable[[int], list[Path]]:
    """So many images at equal distances in the list of all, or all if there are fewer."""
    found = [item.path for item in open_dataset(sources).images]

    def sample(count: int) -> list[Path]:
        count = min(count, len(found))
        return [found[i * len(found) // count] for i in range(count)]

    return sample


@dataclass(frozen=True)
class Measured:
    """``images``: how many the sample had; ``beside``: processes that worked at the same time."""

    rates: list[Rates]
    images: int
    beside: int


def measure(
    folder: Path,
    sample: Callable[[int], list[Path]],
    count: int,
    options: dict[str, list[str]],
    *,
    workers: int,
    by_clock: bool,
    progress: Progress,
) -> Measured:
    """Run both stages, with their ``options``, on ``count`` images, or on more where they take less than `LEAST`.

    As many processes work beside each other as there will be ``workers``, or cores here: cores share caches and memory,
    and some share a core's units, so that one alone is faster. ``by_clock``: extract, whose work is a GPU's.
    """
    beside = 1 if by_clock else min(workers, cpu_threads(), _AT_ONCE)
    progress.start(2, "samples")
    while True:
        images = sample(count)
        found = _samples(folder / str(count), images, options, beside, by_clock)
        progress.advance()
        shortest = min(item.of_images for several in found.values() for item in several)
        more = min(20 * count, round(count * 1.2 * LEAST / max(shortest, 0.01)))
        if shortest >= LEAST or len(sample(more)) <= len(images):
            break
        count = more
    size = sum(path.stat().st_size for path in images) / len(images)
    place = folder / str(count) / "0" / MANY
    made = {name: _shard(place, name).stat().st_size / len(images) for name in MADE.values()}
    # propose reads each image twice: to know it, and to search it. extract moves its parts into the file.
    rates = [
        Rates.of("propose", found["propose"], 2 * size, made["proposals"], True),
        Rates.of("extract", found["extract"], size + made["proposals"], made["features"], False),
    ]
    return Measured(rates, len(images), beside)


def _samples(
    folder: Path, images: list[Path], options: dict[str, list[str]], beside: int, by_clock: bool
) -> dict[str, list[Sample]]:
    places = [folder / str(number) for number in range(beside)]
    for place in places:
        for name, used in ((FIRST, images[:1]), (MANY, images), (ONE, images[-1:])):
            (place / name / "images").mkdir(parents=True)
            for i, path in enumerate(used):
                shutil.copyfile(path, place / name / "images" / f"{i:06d}{path.suffix}")
    found: dict[str, list[Sample]] = {}
    for stage in STAGES:
        clock = int(by_clock and stage == "extract")
        processes = [_start(place, stage, _commands(stage, options[stage])) for place in places]
        try:
            ended = [_ended(place, stage, process) for place, process in zip(places, processes, strict=True)]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        found[stage] = []
        for times, memory in ended:
            first, many, one, merged, merged_one = (pair[clock] for pair in times)
            found[stage].append(Sample(len(images), first, many, one, merged, merged_one, memory))
    return found


def _commands(stage: str, options: list[str]) -> list[list[str]]:
    """The stage over one image, many, one; then merged are the shards of many, and of one."""
    found = []
    for name in (FIRST, MANY, ONE):
        reads = [f"{name}/images", "-j", "1"]
        if stage == "extract":
            reads = ["--proposals", str(_shard(Path(name), "proposals"))]
        found.append([stage, *reads, *options, "--shard", "1/1", "-q", "-o", f"{name}/{MADE[stage]}.h5"])
    for name in (MANY, ONE):
        found.append(["merge", str(_shard(Path(name), MADE[stage])), "-q", "-o", f"{name}/{MADE[stage]}.h5"])
    return found


def _shard(place: Path, kind: str) -> Path:
    return place / f"{kind}.shard-1-of-1.h5"


def _start(place: Path, stage: str, commands: list[list[str]]) -> subprocess.Popen[bytes]:
    """The commands, one after the other, in a process of their own on one core."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    with (place / f"{stage}.log").open("wb") as log, (place / f"{stage}.out").open("wb") as out:
        arguments = [sys.executable, "-c", _ONE_CORE, json.dumps(commands)]
        return subprocess.Popen(arguments, cwd=place, env=environment, stdout=out, stderr=log)


def _ended(place: Path, stage: str, process: subprocess.Popen[bytes]) -> tuple[list[tuple[float, float]], int]:
    """Processor's and clock's seconds of each command, and the process's largest memory in bytes.

    Raises:
        SppError: one failed; the text is the command's own.
    """
    if process.wait():
        said = (place / f"{stage}.log").read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
        raise SppError(f"a run of spp {stage} on the sample failed: {said}")
    times, memory = json.loads((place / f"{stage}.out").read_text(encoding="utf-8").strip().split("\n")[-1])
    return times, memory * (1 if sys.platform == "darwin" else 1024)
